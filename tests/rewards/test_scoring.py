"""Several rewards of one batch: weighted, standardized, abstaining, watched; reward models over one base; the
best of several.
"""

import numpy as np
import pytest

from alignkit import Example, Group, Reward
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


# "a", "bb", "ccc" of 1, 2 and 3 tokens, and "dddd" of 4; a token is a character.
LETTERS = [
    Group([1], ([7], [7, 7], [7, 7, 7])),
    Group([1], ([7, 7, 7, 7],)),
]


def spelled(ids, after=None):
    assert after == [1], "a plain completion is decoded after its prompt"
    return "x" * len(ids)


def with_text(*rewards, watch=()):
    return Scorer(tuple(rewards), tuple(watch), text=spelled)(EXAMPLES, LETTERS)


def ordinal(prompts, completions, completion_ids, **columns):
    """Give 1 to the first token, 2 to the second, and so on."""
    return [[float(place + 1) for place in range(len(ids))] for ids in completion_ids]


def halves(prompts, completions, **columns):
    """Give 1 where the first half of a text ends, and −1 at its end; abstain from the shortest."""
    return [[(len(text) // 2, 1.0), (len(text), -1.5)] if len(text) > 1 else None for text in completions]


def test_numbers_of_tokens_are_added_to_numbers_of_completions_at_the_last_token():
    found = with_text(of(ordinal, 2), of(length, 10))
    assert found.token_rewards == [[[12], [2, 24], [2, 4, 36]], [[2, 4, 6, 48]]]
    assert found.total == [[12, 26, 42], [60]]
    assert found.each == {"ordinal": [[1, 3, 6], [10]], "length": [[1, 2, 3], [4]]}


def test_steps_stand_where_they_end_and_what_is_abstained_from_has_no_tokens():
    found = with_text(of(halves))
    assert found.token_rewards == [[None, [1, -1.5], [1, 0, -1.5]], [[0, 1, 0, -1.5]]]
    assert found.total == [[None, -0.5, -0.5], [-0.5]]


def test_standardized_numbers_of_tokens_have_the_sums_moments():
    found = with_text(of(ordinal, 3, standardize=True))
    # Sums 1, 3, 6, 10: mean 5, variance (16 + 4 + 1 + 25) ÷ 4 = 11.5.
    deviation = 11.5**0.5
    assert found.token_rewards[0][1] == pytest.approx([3 * 1 / deviation, 3 * (2 - 5) / deviation])
    sums = [sum(tokens) for of_prompt in found.token_rewards for tokens in of_prompt]
    assert sums == pytest.approx([total for of_prompt in found.total for total in of_prompt])
    assert found.total[1] == pytest.approx([3 * 5 / deviation])


def test_no_number_of_a_token_no_rewards_of_tokens():
    assert with_text(of(length)).token_rewards is None
    watched = with_text(of(length), watch=[of(ordinal)])
    assert watched.token_rewards is None, "what is only watched is not optimized"
    assert watched.each["ordinal"] == [[1, 3, 6], [10]]


def test_without_a_decoder_steps_count_by_their_sums():
    found = scored([of(halves)])
    assert (found.token_rewards, found.total) == (None, [[None, -0.5, -0.5], [-0.5]])


def test_a_reward_that_uses_the_engine_is_not_scored_without_one():
    class Judged(Reward):
        uses = {"policy"}

    with pytest.raises(ValueError, match="give `engines`"):
        Scorer((WeightedReward(RegisteredReward("judged", Judged())),))
