"""Plugin files: whatever they are called they take no other module's place, and what is wrong with them is
one message.
"""

import inspect
import json
import pickle
import sys

import pytest

from alignkit import UserError
from alignkit.registry import Registry

REWARD = """
from typing import ClassVar

from alignkit import Reward, hookimpl

class Mine(Reward):
    name: ClassVar[str] = "{name}"
    def score(self, prompts, completions, **columns): return [1.0 for _ in completions]

@hookimpl
def register_rewards(register): register(Mine)
"""


def write(folder, file, text):
    (folder / file).write_text(text)
    return folder / file


def test_a_file_called_like_a_module_does_not_take_its_place(tmp_path):
    registry = Registry([write(tmp_path, "json.py", REWARD.format(name="mine"))])
    assert sys.modules["json"] is json
    assert "mine" in registry.rewards.items


def test_what_a_file_defines_can_be_pickled_and_inspected(tmp_path):
    cls = Registry([write(tmp_path, "json.py", REWARD.format(name="mine"))]).rewards.get("mine")
    assert type(pickle.loads(pickle.dumps(cls()))) is cls
    assert inspect.getfile(cls) == str(tmp_path / "json.py")
    assert "class Mine(Reward)" in inspect.getsource(cls)


def test_files_may_be_called_like_a_packages_plugin_and_like_each_other(tmp_path):
    (tmp_path / "other").mkdir()
    files = [
        write(tmp_path, "length.py", REWARD.format(name="mine")),
        write(tmp_path / "other", "length.py", REWARD.format(name="yours")),
    ]
    registry = Registry([*files, files[0]])
    assert {"mine", "yours", "length"} <= registry.rewards.items.keys()
    assert registry.rewards.get("mine").name == "mine"
    assert registry.rewards.source_hash("mine") != registry.rewards.source_hash("yours")
    assert [plugin.name for plugin in registry.plugins if plugin.source in map(str, files)] == [
        "length",
        "length",
    ]


def test_what_they_register_may_not_be_called_like_a_packages(tmp_path):
    with pytest.raises(
        UserError, match=r"two plugins register the reward 'length': alignkit .* and .*mine.py"
    ):
        Registry([write(tmp_path, "mine.py", REWARD.format(name="length"))])


def test_a_hook_that_fails_is_one_message(tmp_path):
    text = (
        "from alignkit import hookimpl\n@hookimpl\ndef register_rewards(register): register(lambda p, c: "
        "[], nam='x')\n"
    )
    with pytest.raises(
        UserError, match=r"plugin 'raising' \(.*raising.py\) does not load: TypeError: .*'nam'"
    ):
        Registry([write(tmp_path, "raising.py", text)])


@pytest.mark.parametrize("hook", ["register_objective", "registr_rewards"])
def test_a_misspelt_hook_is_an_error_that_offers_the_nearest(tmp_path, hook):
    text = f"from alignkit import hookimpl\n@hookimpl\ndef {hook}(register): pass\n"
    with pytest.raises(UserError, match=f"no hook is called '{hook}'") as caught:
        Registry([write(tmp_path, "typing_error.py", text)])
    assert "Did you mean 'register_" in str(caught.value)


def test_a_hook_of_another_version_may_be_marked_optional(tmp_path):
    text = "from alignkit import hookimpl\n@hookimpl(optionalhook=True)\ndef register_later(register): pass\n"
    assert Registry([write(tmp_path, "later.py", text)]).plugins[-1].name == "later"


def test_a_file_that_is_no_python_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a Python file"):
        Registry([write(tmp_path, "notes.txt", "words")])


OBJECTIVE = """
from typing import ClassVar
from alignkit import Metric, Objective, Preferences, hookimpl

class Mine(Objective):
    name = "mine"
    data = Preferences
    metrics{metrics}
    def loss(self, batch): ...

@hookimpl
def register_objectives(register): register(Mine)
"""


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (': ClassVar = [Metric("margin")]', "`metrics` must be a mapping"),
        (': dict = {"margin": Metric("margin")}', "`metrics` must be a mapping"),
        (
            ': ClassVar = {"margin": "nats"}',
            "the metric 'margin' is 'nats'; a Metric with a label is expected",
        ),
        (': ClassVar = {"margin": Metric("")}', "a Metric with a label is expected"),
    ],
)
def test_metrics_without_labels_are_refused(tmp_path, metrics, words):
    with pytest.raises(UserError, match=words):
        Registry([write(tmp_path, "mine.py", OBJECTIVE.format(metrics=metrics))])


def test_a_class_that_is_no_reward_is_refused(tmp_path):
    text = REWARD.format(name="mine").replace("class Mine(Reward)", "class Mine")
    with pytest.raises(UserError, match=r"as a reward; a subclass of alignkit.Reward, or a function"):
        Registry([write(tmp_path, "mine.py", text)])


FIELDS = """
from alignkit import Objective, Preferences, Prompts, Reward, hookimpl

class Mine({base}):
    name = "mine"
    {body}

@hookimpl
def register_{kind}s(register): register(Mine)
"""


@pytest.mark.parametrize(
    ("base", "body", "words"),
    [
        ("Objective", "data = Preferences; weight: float = 1.0", r"objective Mine .* option 'weight'"),
        ("Objective", "data = Preferences; on: str = 'x'", r"objective Mine .* option 'on'"),
        ("Reward", "weight: float = 1.0", r"reward Mine of plugin 'mine' has the option 'weight'"),
        ("Reward", "standardize: bool = False", r"reward Mine .* option 'standardize'.*\n.*mine_standardize"),
        ("Reward", "roles: dict = {}", r"reward Mine .* option 'roles'"),
        ("Objective", "data = Prompts", r"data = Prompts; an OnlineObjective learns from Prompts"),
        ("Reward", "uses = 'policy'", r"`uses` is 'policy'; a set of roles is expected"),
        (
            "Reward",
            "uses = {'policy'}\n    def score(self, prompts, completions): ...",
            "its `score` takes no `engine`",
        ),
    ],
)
def test_declarations_that_a_recipe_or_the_engine_could_not_follow_are_refused(tmp_path, base, body, words):
    text = FIELDS.format(base=base, body=body, kind=base.lower())
    with pytest.raises(UserError, match=words):
        Registry([write(tmp_path, "mine.py", text)])


def test_a_file_that_does_not_load_is_named_with_the_line(tmp_path):
    with pytest.raises(UserError, match=r"ZeroDivisionError: division by zero \(mine.py:2\)"):
        Registry([write(tmp_path, "mine.py", "x = 0\ny = 1 / x\n")])
