"""Names with options: `NAME`, `{NAME: options}`, or a list of either."""

import pytest

from alignkit.recipe import RewardTerm, Target, Term
from alignkit.recipe.named import names_in


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("a", [("a", {})]),
        ({"a": None, "b": {"x": 1}}, [("a", {}), ("b", {"x": 1})]),
        (["a", {"b": {"x": 1}}, {"c": {}}], [("a", {}), ("b", {"x": 1}), ("c", {})]),
        ([], []),
    ],
)
def test_names_are_read_in_each_form(raw, names):
    assert names_in(raw, "a reward") == names


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (2, "give the name of a reward"),
        ({}, "give the name of a reward"),
        (["a", None], "give the name of a reward"),
        ({"a": 2}, "the options of a must be a mapping, found 2"),
    ],
)
def test_other_forms_are_refused(raw, words):
    with pytest.raises(ValueError, match=words):
        names_in(raw, "a reward")


def test_settings_of_the_recipe_are_told_from_options_of_the_plugin():
    assert RewardTerm.read({"length": {"weight": 2, "unit": "words"}}) == (
        {"reward": "length", "weight": 2, "options": {"unit": "words"}},
    )
    assert Target.read({"sft": {"best_of": 2, "bestof": 3}}) == (
        {"stage": "sft", "best_of": 2, "bestof": 3},
    ), "an unknown key stays, for the validation to refuse"


def test_what_is_read_already_stays():
    terms = (RewardTerm(reward="length"),)
    assert RewardTerm.read(terms) is terms


def test_options_that_are_read_are_not_changed():
    raw = {"length": {"weight": 2}}
    RewardTerm.read(raw)
    assert raw == {"length": {"weight": 2}}


def test_the_keys_below_a_name():
    assert list(Term.settings()) == ["weight", "on"]
    assert list(RewardTerm.settings()) == ["weight", "standardize", "roles"]
    assert list(Target.settings()) == ["best_of", "by"]
