"""Several rewards of one batch: weighted, standardized, abstaining, watched; reward models over one base; the
best of several.
"""

import numpy as np
import pytest

from alignkit import Example, Group
from alignkit.rewards.kinds import RegisteredReward, RewardModel, WeightedReward
from alignkit.rewards.scoring import Scorer

EXAMPLES = [Example("p", ("a", "bb", "ccc")), Example("q", ("dddd",))]


def ignored(examples):
    return [Group([1], tuple([2] for _ in example.completions)) for example in examples]


def length(prompts, completions, **columns):
    return [float(len(completion)) for completion in completions]


def of(function, weight=1.0, standardize=False, name=None):
    reward = RegisteredReward(name or function.__name__, function)
    return WeightedReward(reward, weight, standardize)


def scored(rewards, watch=(), examples=EXAMPLES):
    return Scorer(tuple(rewards), tuple(watch))(examples, ignored(examples))


def test_the_total_is_the_weighted_sum_and_each_reward_stays_as_it_is():
    def vowel(prompts, completions, **columns):
        return [completion.startswith("a") for completion in completions]

    found = scored([of(length, 0.5), of(vowel, -3)])
    assert found.total == [[0.5 * 1 - 3, 1.0, 1.5], [2.0]]
    assert found.each == {"length": [[1, 2, 3], [4]], "vowel": [[1, 0, 0], [0]]}
    assert found.means() == {"length": 2.5, "vowel": 0.25}


def test_standardized_scores_have_mean_0_and_deviation_1_over_the_batch_before_they_are_weighted():
    found = scored([of(length, 2, standardize=True)])
    # 1, 2, 3, 4: mean 2½, variance (1.5² + 0.5² + 0.5² + 1.5²) ÷ 4 = 1.25
    expected = [2 * (value - 2.5) / 1.25**0.5 for value in (1, 2, 3, 4)]
    assert [*found.total[0], *found.total[1]] == pytest.approx(expected)
    assert found.each == {"length": [[1, 2, 3], [4]]}, "what is reported is not standardized"


def test_standardizing_is_over_the_whole_batch_whatever_the_scale(rng):
    def noise(prompts, completions, **columns):
        return [1e6 + 1e3 * rng.random() for _ in completions]

    examples = [Example(str(i), ("a",) * rng.randint(1, 4)) for i in range(20)]
    total = [
        value for values in scored([of(noise, standardize=True)], examples=examples).total for value in values
    ]
    assert np.mean(total) == pytest.approx(0, abs=1e-6)
    assert np.std(total) == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e9 / 7])
@pytest.mark.parametrize("count", [1, 3, 6, 7, 11])
def test_a_constant_reward_is_standardized_to_0(value, count):
    def constant(prompts, completions, **columns):
        return [value] * len(completions)

    assert scored([of(constant, standardize=True)], examples=[Example("p", ("a",) * count)]).total == [
        [0] * count
    ]


def test_a_completion_of_which_one_reward_abstains_has_no_total_and_counts_in_no_mean():
    def even(prompts, completions, **columns):
        return [float(len(c)) if len(c) % 2 == 0 else None for c in completions]

    found = scored([of(length), of(even, 10, standardize=True)])
    # Of the scores 2 and 4, standardized −1 and 1.
    assert found.total == [[None, 2 - 10, None], [4 + 10]]
    assert found.each["even"] == [[None, 2, None], [4]]
    assert found.means() == {"length": 2.5, "even": 3.0}


def test_a_reward_that_abstains_from_everything_has_no_mean():
    def silent(prompts, completions, **columns):
        return [None] * len(completions)

    found = scored([of(silent, standardize=True)])
    assert found.total == [[None, None, None], [None]]
    assert found.means() == {}


def test_what_is_watched_is_measured_and_not_summed():
    def ten(prompts, completions, **columns):
        return [10.0] * len(completions)

    def silent(prompts, completions, **columns):
        return [None] * len(completions)

    found = scored([of(length)], watch=[of(ten, 5, standardize=True), of(silent)])
    assert found.total == [[1, 2, 3], [4]]
    assert found.means() == {"length": 2.5, "ten": 10.0}


def test_the_datas_columns_reach_a_reward_once_a_completion():
    seen = {}

    def note(prompts, completions, **columns):
        seen.update(prompts=prompts, completions=completions, columns=columns)
        return [0.0] * len(completions)

    rows = [
        Example("p", ("a", "b"), extra={"answer": "1", "tag": "x"}),
        Example("q", ("c",), extra={"answer": "2"}),
    ]
    scored([of(note)], examples=rows)
    assert seen == {
        "prompts": ["p", "p", "q"],
        "completions": ["a", "b", "c"],
        # A column that some row lacks is there for every completion, whichever rows the batch has.
        "columns": {"answer": ["1", "1", "2"], "tag": ["x", "x", None], "completion_ids": [[2], [2], [2]]},
    }


def test_every_reward_is_asked_once():
    asked = []

    def counted(prompts, completions, **columns):
        asked.append(len(completions))
        return [0.0] * len(completions)

    scored([of(counted, name="one"), of(length)], watch=[of(counted, name="two")])
    assert asked == [4, 4]


def test_a_reward_model_is_not_scored_without_a_base():
    with pytest.raises(ValueError, match="give `models`"):
        Scorer((WeightedReward(RewardModel("judge")),))
