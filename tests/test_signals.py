"""The one table of roles and signals."""

import pytest

from alignkit.signals import BUILT_IN, KINDS, how_to_declare, signal_name, signals_of


def test_every_role_has_a_signal():
    assert tuple(BUILT_IN) == ("policy", "reference", "reward", "value")
    assert {name for name, role in BUILT_IN.items() if KINDS[role.kind].headed} == {"reward", "value"}
    found = [signals_of(name, role.kind, entropy=False) for name, role in BUILT_IN.items()]
    assert found == [("logps",), ("reference_logps",), ("scores",), ("values",)]


def test_entropy_is_computed_only_where_it_is_asked_for():
    assert signals_of("policy", "language-model", entropy=False) == ("logps",)
    assert signals_of("policy", "language-model", entropy=True) == ("logps", "entropy")
    assert signals_of("reference", "language-model", entropy=True) == ("reference_logps",)


def test_scores_alone_are_per_completion():
    assert [kind.signal for kind in KINDS.values() if not kind.per_token] == ["scores"]


@pytest.mark.parametrize(
    ("kind", "signal"),
    [("language-model", "other_logps"), ("reward", "other_scores"), ("value", "other_values")],
)
def test_the_signal_of_a_role_of_another_name_begins_with_that_name(kind, signal):
    assert signal_name("other", kind) == signal
    assert how_to_declare(signal) == f'`roles = {{"other": "{kind}"}}`, and "other" in `trains` or `reads`'


@pytest.mark.parametrize(
    ("signal", "declare"),
    [
        ("logps", '"policy" in `trains` or `reads`'),
        ("entropy", "`entropy = True` beside a policy"),
        ("old_logps", "an OnlineObjective: only rollouts have a log-probability at sampling"),
        ("reference_logps", '"reference" in `reads`'),
        ("scores", '"reward" in `trains` or `reads`'),
        ("values", '"value" in `trains` or `reads`'),
        ("policy_logps", None),
        ("_logps", None),
        ("margin", None),
    ],
)
def test_it_is_told_how_a_signal_is_declared_where_a_role_gives_it(signal, declare):
    assert how_to_declare(signal) == declare


def test_the_end_of_steps_comes_from_data_in_steps_or_a_separator():
    told = how_to_declare("step_end")
    assert told is not None
    assert "Stepwise" in told
    assert "step_separator" in told
