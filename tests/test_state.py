"""The numbers that a plugin remembers: checked when written, locked while a loss is computed."""

import pytest

from alignkit import State, UserError


def test_it_is_a_mapping_of_numbers():
    state = State()
    state["mean"] = 0.5
    state.update(count=3)
    assert dict(state) == {"mean": 0.5, "count": 3}
    assert state.get("other", 1.0) == 1.0
    del state["mean"]
    state.replace({"a": 1.0})
    assert dict(state) == {"a": 1.0}
    assert repr(state) == "{'a': 1.0}"


@pytest.mark.parametrize("value", ["text", None, [1.0], 1j])
def test_anything_but_a_number_is_refused_when_it_is_written(value):
    with pytest.raises(UserError, match=r"state\['mean'\] is a .*checkpoints hold numbers"):
        State()["mean"] = value


def test_while_locked_it_is_read_and_not_written():
    state = State()
    state["mean"] = 1.0
    with state.locked("loss", "Write it elsewhere."):
        assert state["mean"] == 1.0
        for change in (
            lambda: state.__setitem__("mean", 2.0),
            lambda: state.update(mean=2.0),
            lambda: state.setdefault("other", 2.0),
            lambda: state.pop("mean"),
            lambda: state.clear(),
        ):
            with pytest.raises(
                UserError, match="changed in `loss`, where it can only be read\nWrite it elsewhere"
            ):
                change()
    state["mean"] = 2.0
    assert dict(state) == {"mean": 2.0}
