"""What an observer's author writes."""

import pytest
from pydantic import ValidationError

from alignkit import Field, ObservedStage, Observer, UserError
from alignkit.registry import Registry


class Counts(Observer):
    name = "counts"
    every: int = Field(2, ge=1)


def test_every_method_is_optional_and_asks_for_nothing(tmp_path):
    observer = Counts()
    assert observer.on_stage(ObservedStage("one", "train", 3, 0, None)) is None
    assert observer.on_step(1, 3, {"loss": 1.0}) is None
    assert observer.on_checkpoint(1, tmp_path) is None
    assert observer.on_end({}) is None
    assert not Counts.stops


def test_options_are_fields_and_state_is_each_observers_own():
    with pytest.raises(ValidationError):
        Counts(evry=3)  # type: ignore[call-arg]
    one, other = Counts(every=3), Counts()
    one.state["seen"] = 1
    assert (one.every, other.state) == (3, {})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class A: pass", "as an observer; a subclass of alignkit.Observer is expected"),
        ("class A(Observer): pass", "observer A of plugin 'mine' has no name"),
    ],
)
def test_what_is_no_observer_is_refused(tmp_path, source, words):
    file = tmp_path / "mine.py"
    file.write_text(
        f"from alignkit import Observer, hookimpl\n{source}\n@hookimpl\n"
        "def register_observers(register): register(A)\n"
    )
    with pytest.raises(UserError, match=words):
        Registry([file])
