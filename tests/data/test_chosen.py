"""Which completions two models are compared on: few, always the same, and no more tokens than planned."""

import json
import random

from alignkit.data.chosen import MOST, PROMPT_TOKENS, TOKENS, Chosen, choose_completions
from alignkit.example import Group


def groups(count, completions=2, length=5, prompt=4):
    rng = random.Random(0)
    ids = lambda n: [rng.randrange(90) for _ in range(n)]
    return [Group(ids(prompt), tuple(ids(length) for _ in range(completions))) for _ in range(count)]


def test_at_most_32_completions_each_of_another_group_and_of_every_place():
    data = groups(100)
    found = choose_completions(data)
    assert (len(found.groups), found.of) == (MOST, "completions")
    places = []
    for group in found.groups:
        [source] = [each for each in data if group.completions[0] in each.completions]
        assert group.prompt == source.prompt
        places.append((data.index(source), source.completions.index(group.completions[0])))
    assert len({group for group, _ in places}) == MOST
    assert [place for _, place in places] == [0, 1] * (MOST // 2)
    assert [group for group, _ in places] != sorted(group for group, _ in places), "not the first ones"
    assert found == choose_completions(data)


def test_the_tokens_of_completions_and_of_prompts_are_bounded_and_one_is_always_chosen():
    assert len(choose_completions(groups(50, length=TOKENS // 4)).groups) == 4
    assert len(choose_completions(groups(50, prompt=PROMPT_TOKENS // 8)).groups) == 8
    assert len(choose_completions(groups(50, length=TOKENS + 1)).groups) == 1


def test_of_data_without_completions_the_prompts_are_predicted():
    found = choose_completions([Group([5, 6, 7]), Group([8])])
    assert found == Chosen((Group([5], ([6, 7],)),), "prompts"), "one token alone predicts nothing"
    assert found.tokens == [2]


def test_only_tokens_that_the_policy_wrote_count():
    masked = Group([1], ([2, 3, 4],), masks=((False, True, True),))
    unwritten = Group([1], ([2, 3],), masks=((False, False),))
    found = choose_completions([masked, unwritten])
    assert (found.groups, found.tokens) == ((masked,), [2])


def test_what_was_chosen_is_kept_as_json():
    chosen = choose_completions([*groups(3), Group([1], ([2, 3],), masks=((False, True),))])
    assert Chosen.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
