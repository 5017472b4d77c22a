"""The one table of roles and signals."""

from alignkit.signals import HEADED, ROLES, SIGNALS, signals_of


def test_every_role_has_a_signal():
    assert ROLES == ("policy", "reference", "reward", "value")
    assert {"reward", "value"} == HEADED
    assert all(signals_of(role, entropy=False) for role in ROLES)


def test_entropy_is_computed_only_where_it_is_asked_for():
    assert signals_of("policy", entropy=False) == ("logps",)
    assert signals_of("policy", entropy=True) == ("logps", "entropy")
    assert signals_of("reference", entropy=True) == ("reference_logps",)


def test_scores_alone_are_per_completion():
    assert [name for name, signal in SIGNALS.items() if not signal.per_token] == ["scores"]
