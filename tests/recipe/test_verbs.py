"""The verbs of stages: the forms in which they are written, and what they need."""

import pytest
from pydantic import ValidationError

from alignkit.recipe import Evaluate, Label, RewardTerm, Sample, Target, Train

JUDGE, LENGTH = RewardTerm(reward="judge"), RewardTerm(reward="length")


def train(**settings):
    return Train.model_validate({"train": "ppo", "on": "prompts", **settings})


def evaluate(*, evaluate="sft", **settings):
    return Evaluate.model_validate({"evaluate": evaluate, "on": "prompts", **settings})


def test_targets_may_be_the_best_of_several_samples():
    best_of = {"best_of": 4, "by": ["judge", {"length": {"unit": "characters"}}]}
    stage = evaluate(evaluate={"base": None, "ppo": best_of, "sft": {}})
    length = RewardTerm(reward="length", options={"unit": "characters"})
    best = Target(stage="ppo", best_of=4, by=(JUDGE, length))
    assert stage.evaluate == (Target(stage="base"), best, Target(stage="sft"))
    assert [target.name for target in stage.evaluate] == ["base", "ppo best of 4", "sft"]
    assert stage.rewards == ["judge", "length"]


def test_the_stages_that_play_roles_of_rewards_are_inputs():
    reward = {"judged": {"roles": {"judge": "sft", "other": "base"}, "size": 2}}
    term = RewardTerm(reward="judged", roles={"judge": "sft", "other": "base"}, options={"size": 2})
    assert train(reward=reward).reward == (term,)
    assert train(reward=reward).inputs == ["prompts", "sft"]
    assert train(watch=reward).inputs == ["prompts", "sft"]
    assert Label.model_validate({"label": "drawn", "by": reward}).inputs == ["drawn", "sft"]
    assert evaluate(evaluate="ppo", by=reward).inputs == ["prompts", "ppo", "sft"]
    best = {"ppo": {"best_of": 2, "by": reward}}
    assert evaluate(evaluate=best).inputs == ["prompts", "ppo", "sft"]


def test_every_verb_has_a_seed_of_its_own():
    label = {"label": "drawn", "by": "judge"}
    for make in (train, evaluate, lambda **more: Label.model_validate({**label, **more})):
        assert (make().seed, make(seed=7).seed) == (None, 7)
    assert Sample(sample="sft", on="prompts", seed=0).seed == 0
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        train(seed=-1)


def test_the_base_is_no_stage():
    assert train(start="base").start is None
    assert Sample(sample="base", on="prompts").inputs == ["prompts"]
    assert evaluate(evaluate=["base", "sft"], against="base").inputs == ["prompts", "sft"]


def test_inputs_are_the_names_of_data_and_stages():
    mixture = {"ppo": {}, "sft": {"on": "pairs"}}
    stage = train(train=mixture, start="sft", held_out="seen", reward="judge", watch=["length"])
    assert stage.inputs == ["prompts", "pairs", "seen", "sft"]
    assert stage.rewards == ["judge", "length"]
    assert train(held_out=0.1).inputs == ["prompts"]
    assert Sample(sample="sft", on="prompts").inputs == ["prompts", "sft"]
    assert Sample(sample="sft", on="prompts").rewards == []
    label = Label.model_validate({"label": "drawn", "by": "judge"})
    assert (label.inputs, label.rewards) == (["drawn"], ["judge"])
    assert evaluate(against="ppo", by=["judge", "kl"]).inputs == ["prompts", "sft", "ppo"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: train(train=["sft"]), "train takes an objective's name"),
        (lambda: train(reward={"judge": 2}), "the options of judge must be a mapping, found 2"),
        (lambda: train(reward=2), "give the name of a reward"),
        (lambda: evaluate(evaluate=[]), "at least 1"),
        (lambda: evaluate(evaluate={"ppo": {"best_of": 0}}), "greater than or equal to 1"),
        (lambda: evaluate(evaluate={"ppo": {"best_of": 4}}), "best_of needs `by`"),
        (lambda: Label.model_validate({"label": "pairs", "by": []}), "at least 1"),
    ],
)
def test_what_a_verb_cannot_mean_is_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()
