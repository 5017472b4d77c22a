"""The two kinds of evaluation."""

import pytest

from alignkit import UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.stages.evaluate.plan import PlannedAssessment, PlannedEvaluation
from alignkit.stages.plan import make_plan

STAGES = {
    "policy": {"train": "sft", "on": "pairs"},
    "judge": {"train": "bradley-terry", "on": "pairs"},
}


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture
def plan(registry, tmp_path):
    def plan(**evaluate):
        stages = {**STAGES, "seen": {"on": "pairs", **evaluate}}
        recipe = parse_recipe({"name": "x", "data": {"pairs": "owner/pairs"}, "stages": stages})
        return make_plan(recipe, registry, tmp_path).stages["seen"]

    return plan


def test_policies_are_measured_by_samples_and_reward_models_by_pairs(plan, registry):
    policies = plan(evaluate=["base", {"policy": {"best_of": 4, "by": "judge"}}], by=["sentiment", "length"])
    assert isinstance(policies, PlannedEvaluation)
    assert [reward.name for reward in policies.rewards] == ["sentiment"]
    assert policies.measures == ("length",), "a name that is a reward and a measure is the measure here"
    assert {name for _, name in policies.uses(registry)} == {"sentiment", "length", "engine"}
    models = plan(evaluate="judge")
    assert isinstance(models, PlannedAssessment)
    assert models.uses(registry) == []


def test_without_the_name_of_a_measure_all_are_taken_in_the_order_of_their_registration(plan, registry):
    assert plan(evaluate="policy").measures == tuple(registry.measures.items)


@pytest.mark.parametrize(
    ("evaluate", "words"),
    [
        ({"evaluate": ["policy", "judge"]}, "'judge' is a reward model, and others of these are not"),
        ({"evaluate": "judge", "by": "sentiment"}, "assessed by the data's ranks, not by rewards"),
        ({"evaluate": {"judge": {"best_of": 2, "by": "sentiment"}}}, "scores completions and writes none"),
        (
            {"evaluate": {"judge": {"best_of": 2, "by": "sentimental"}}},
            "no reward and no stage is called 'sentimental'",
        ),
        (
            {"evaluate": {"policy": {"best_of": 2, "by": "judge"}}, "temperature": 0},
            "there is no best of them",
        ),
        ({"evaluate": "policy", "against": "judge"}, "'judge' is a reward model"),
        ({"evaluate": ["policy", "policy"]}, "names 'policy' twice"),
        ({"evaluate": "policy", "by": {"length": {"weight": 2}}}, "takes no options and no weight"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(plan, evaluate, words):
    with pytest.raises(UserError, match=words):
        plan(**evaluate)
