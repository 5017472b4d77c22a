"""Recipes against what is registered: what their plans hold, and with which words a mistake is refused."""

import pytest

from alignkit.errors import UserError
from alignkit.recipe import RewardTerm, parse_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan

ONLINE = {
    "name": "online",
    "data": {"pairs": "some/pairs", "prompts": "some/prompts"},
    "training": {"batch_size": 4, "sampling": {"max_tokens": 32, "temperature": 0.7}},
    "stages": {
        "sft": {"train": "sft", "on": "pairs", "start": "base"},
        "judge": {"train": "bradley-terry", "on": "pairs", "start": "sft"},
        "drawn": {"sample": "sft", "on": "prompts"},
        "ppo": {
            "train": "ppo",
            "on": "prompts",
            "start": "sft",
            "reward": "judge",
            "watch": "length",
            "sampling": {"temperature": 1},
        },
        "table": {"evaluate": ["sft", "ppo"], "on": "prompts", "by": "judge"},
    },
}


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture
def plan(registry, edited, tmp_path):
    return lambda edits=(): make_plan(
        parse_recipe(edited(ONLINE, {f"stages.{key}": value for key, value in dict(edits).items()})),
        registry,
        tmp_path,
    )


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("judge", [RewardTerm(reward="judge")]),
        (
            {"judge": {"weight": 2, "standardize": True}},
            [RewardTerm(reward="judge", weight=2, standardize=True)],
        ),
        (
            {"length": {"unit": "words", "weight": -0.5}},
            [RewardTerm(reward="length", options={"unit": "words"}, weight=-0.5)],
        ),
        (
            ["judge", {"length": {"weight": 3}}],
            [RewardTerm(reward="judge"), RewardTerm(reward="length", weight=3)],
        ),
    ],
)
def test_rewards_are_stages_or_registered_ones_with_their_options(plan, written, terms):
    rewards = plan({"ppo.reward": written, "ppo.watch": None}).stages["ppo"].rewards
    assert [(r.name, r.weight, r.standardize) for r in rewards] == [
        (term.reward, term.weight, term.standardize) for term in terms
    ]
    for reward, term in zip(rewards, terms, strict=True):
        assert reward.is_model == (term.reward == "judge")
        if not reward.is_model:
            assert reward.reward.call.unit == "words"


def test_the_best_of_several_samples_is_chosen_by_rewards(plan):
    best = {"best_of": 4, "by": ["judge", {"length": {"unit": "characters"}}]}
    planned = plan({"table.evaluate": {"base": None, "ppo": best, "sft": {}}}).stages["table"]
    assert {name: [reward.name for reward in rewards] for name, rewards in planned.best.items()} == {
        "base": [],
        "ppo best of 4": ["judge", "length"],
        "sft": [],
    }


def test_a_measures_name_chooses_it_and_without_one_all_are_taken(plan, registry):
    assert plan().stages["table"].measures == tuple(registry.measures.items)
    planned = plan({"table.by": ["judge", "kl", "length"]}).stages["table"]
    assert planned.measures == ("kl", "length")
    assert [reward.name for reward in planned.rewards] == ["judge"]


@pytest.mark.parametrize(
    ("edits", "where", "words"),
    [
        ({"table.evaluate": ["ppo", "ppo"]}, "table.evaluate", "'ppo' twice"),
        (
            {
                "table.evaluate": [
                    {"ppo": {"best_of": 2, "by": "judge"}},
                    {"ppo": {"best_of": 2, "by": "length"}},
                ]
            },
            "table.evaluate",
            "of 2' twice",
        ),
        (
            {"table.evaluate": ["sft", "judge"]},
            "table.evaluate",
            "'judge' is a reward model, and others of these are not",
        ),
        (
            {"table.evaluate": ["base", "judge"]},
            "table.evaluate",
            "'judge' is a reward model, and others of these are not",
        ),
        ({"table.evaluate": ["judge"]}, "table.by", "assessed by the data's ranks"),
        (
            {"table": {"evaluate": {"judge": {"best_of": 2, "by": "length"}}, "on": "pairs"}},
            "table.evaluate",
            "writes none",
        ),
        (
            {"table.evaluate": ["sft", "drawn"]},
            "table.evaluate",
            "'drawn' is a sample stage; a train stage is needed here",
        ),
        (
            {"table.evaluate": ["sft", "pairs"]},
            "table.evaluate",
            "'pairs' is data; a train stage is needed here",
        ),
        ({"table.against": "judge"}, "table.against", "is a reward model"),
        ({"table.by": "judeg"}, "table.by", "Did you mean 'judge'"),
        ({"table.by": ["judge", {"length": {"unit": "words"}}]}, "table.by.length", "a measure here"),
        ({"table.by": ["judge", {"kl": {"weight": 2}}]}, "table.by.kl", "takes no options"),
        ({"table.by": {"judge": {"standardize": True}}}, "table.by.judge", "is not standardized"),
        ({"table.max_tokens": 2000}, "table.max_tokens", "leaves no room for a prompt"),
        (
            {"table.evaluate": [{"ppo": {"best_of": 2, "by": "judge"}}], "table.temperature": 0},
            "table.temperature",
            "there is no best of them",
        ),
        (
            {"drawn.sample": "judge"},
            "drawn.sample",
            "'judge' is a reward model; it scores completions and writes none",
        ),
        ({"drawn.sample": "pairs"}, "drawn.sample", "'pairs' is data"),
        ({"drawn.sampler": "enigne"}, "drawn.sampler", "Did you mean 'engine'"),
        ({"drawn.max_tokens": 1024}, "drawn.max_tokens", "leaves no room for a prompt"),
        ({"drawn": {"label": "sft", "by": "length"}}, "drawn.label", "a sample stage is needed"),
        ({"ppo.reward": "lenght"}, "ppo.reward", "Did you mean 'length'"),
        ({"ppo.reward": "jugde"}, "ppo.reward", "Did you mean 'judge'"),
        ({"ppo.reward": "sft"}, "ppo.reward", "'sft' trains no reward model"),
        ({"ppo.reward": "drawn"}, "ppo.reward", "'drawn' trains no reward model"),
        ({"ppo.reward": {"judge": {"beta": 2}}}, "ppo.reward.judge", "takes no options"),
        (
            {"ppo.reward": {"length": {"units": "words"}}},
            "ppo.reward.length.units",
            "Did you mean 'unit'",
        ),
        ({"ppo.reward": None}, "ppo", "learns from rewards, and the stage names none"),
        ({"ppo.reward": []}, "ppo", "learns from rewards, and the stage names none"),
        ({"ppo.reward": ["length", {"length": {"unit": "characters"}}]}, "ppo.reward", "'length' twice"),
        ({"ppo.reward": {"length": {"unit": "characters"}}}, "ppo.watch", "'length' twice"),
        ({"ppo.watch": "lengthy"}, "ppo.watch", "Did you mean 'length'"),
        ({"ppo.watch": {"length": {"weight": 2}}}, "ppo.watch.length", "only measured takes no weight"),
        ({"length": {"train": "bradley-terry", "on": "pairs"}}, "ppo.watch", "and a registered reward"),
        ({"sft.reward": "length"}, "sft.reward", "nothing to reward"),
        ({"sft.watch": "length"}, "sft.watch", "nothing to reward"),
        (
            {"ppo.train": {"ppo": {"minibatches": 5}}},
            "ppo.train.ppo.minibatches",
            "raise batch_size or lower minibatches",
        ),
        ({"ppo.start": "judge"}, "ppo.start", "'judge' is a reward model"),
        ({"ppo.sampling": {"sampler": "enigne"}}, "ppo.sampling.sampler", "Did you mean 'engine'"),
        (
            {"ppo.sampling": {"temperature": 0}},
            "ppo.sampling.temperature",
            "the same, and none is better",
        ),
        (
            {"ppo.sampling": {"temperature": 1e-46}},
            "ppo.sampling.temperature",
            "at least 0.01, found 1e-46",
        ),
        ({"ppo.sampling": {"temperature": float("inf")}}, "ppo.sampling.temperature", "found inf"),
        ({"ppo.sampling": {"stop": [""]}}, "ppo.sampling.stop.0", "at least 1 character"),
        (
            {"ppo.sampling": {"min_tokens": 33}},
            "ppo.sampling",
            "min_tokens 33 is more than max_tokens 32",
        ),
        (
            {"ppo.max_length": 32},
            "ppo.sampling.max_tokens",
            "leaves no room for a prompt within",
        ),
    ],
)
def test_a_mistake_names_its_place_and_the_mend(plan, edits, where, words):
    with pytest.raises(UserError) as caught:
        plan(edits)
    assert caught.value.where == f"stages.{where}"
    assert words in str(caught.value)


ODD = """
from alignkit import Demonstrations, Loss, OnlineObjective, Objective, Prompts, hookimpl

class Idle(Objective):
    name, data, trains = "idle", Demonstrations, frozenset()
    def loss(self, batch): return Loss(batch.mask.sum(-1).float())

class Critic(OnlineObjective):
    name, data, trains = "critic", Prompts, frozenset({"value"})
    def loss(self, batch): return Loss(batch.values.sum(-1))

@hookimpl
def register_objectives(register):
    register(Idle)
    register(Critic)
"""


@pytest.mark.parametrize(
    ("stage", "objective", "words"),
    [("sft", "idle", "trains no role"), ("ppo", "critic", "neither trains nor reads the policy")],
)
def test_an_objective_without_the_roles_that_it_needs_is_refused(edited, tmp_path, stage, objective, words):
    (tmp_path / "odd.py").write_text(ODD)
    recipe = parse_recipe(edited(ONLINE, {f"stages.{stage}.train": objective}))
    with pytest.raises(UserError, match=words) as caught:
        make_plan(recipe, Registry([tmp_path / "odd.py"]), tmp_path)
    assert caught.value.where == f"stages.{stage}.train.{objective}"


def test_a_reward_named_as_a_measure_that_is_taken_is_refused(plan):
    judge = {"train": "bradley-terry", "on": "pairs", "start": "sft"}
    with pytest.raises(UserError, match="'kl' twice"):
        plan({"judge": None, "kl": judge, "ppo.reward": "kl", "table.by": "kl"})


def test_the_plan_says_what_each_stage_does(plan):
    lines = plan({"table.evaluate": ["sft", {"ppo": {"best_of": 4, "by": "judge"}}]}).lines()
    assert [line.split()[0] for line in lines] == ["sft", "judge", "drawn", "ppo", "table"]
    assert "train ppo for judge on prompts, starting from sft" in lines[3]
    assert lines[3].endswith("trains policy, value")
    assert lines[4].endswith("evaluate sft, ppo best of 4 on prompts by judge, against base")


def test_a_sampler_that_cannot_be_used_here_is_told_before_anything_is_trained(plan, registry, monkeypatch):
    monkeypatch.setattr(
        registry.samplers.get("vllm"), "missing", classmethod(lambda cls: "the package vllm is not installed")
    )
    with pytest.raises(
        UserError, match="'vllm' cannot be used here: the package vllm is not installed"
    ) as caught:
        plan({"ppo.sampling": {"sampler": "vllm"}})
    assert caught.value.where == "stages.ppo.sampling.sampler"
