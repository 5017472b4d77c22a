"""The public API: what its version freezes, and what is said to a plugin that needs another version."""

from difflib import unified_diff

import pytest
from api_listing import FILE, listing

from alignkit import API_VERSION, UserError
from alignkit.registry import Registry

PLUGIN = """
from alignkit import Reward, hookimpl

alignkit_api = {needed!r}

class Mine(Reward):
    name = "mine"

@hookimpl
def register_rewards(register): register(Mine)
"""


def load(folder, text):
    file = folder / "mine.py"
    file.write_text(text)
    return Registry([file])


def test_the_public_names_and_their_signatures_are_those_that_the_version_freezes():
    stored = FILE.read_text(encoding="utf-8") if FILE.is_file() else ""
    changes = unified_diff(
        stored.splitlines(), listing().splitlines(), FILE.name, "the code", n=0, lineterm=""
    )
    text = "\n".join(changes)
    assert not text, (
        f"the public API is not what version {API_VERSION} froze:\n{text}\n\n"
        "Plugins rely on it. Raise API_VERSION in core/alignkit/api.py: the second number where something "
        "was added, the first where something was taken away or changed its meaning. Then write the list "
        "of the new version: make api"
    )


def test_the_listing_tells_signatures_fields_defaults_and_hooks_apart():
    lines = listing().splitlines()
    assert "alignkit.Batch.pairs() -> Pairs" in lines
    assert "alignkit.OnlineObjective.epochs: int = 1, Ge(ge=1)" in lines
    assert "alignkit.Stop.reason: str" in lines
    assert "register_observers: register(cls: type[Observer])" in lines
    assert not [line for line in lines if " at 0x" in line], "an address changes from run to run"


@pytest.mark.parametrize("needed", ["2.0", "2.1", "2.3"])
def test_a_plugin_for_the_same_or_an_earlier_version_of_the_same_major_loads(tmp_path, monkeypatch, needed):
    monkeypatch.setattr("alignkit.api.API_VERSION", "2.3")
    monkeypatch.setattr("alignkit.registry.entry_points", lambda group: [])
    assert "mine" in load(tmp_path, PLUGIN.format(needed=needed)).rewards.items


@pytest.mark.parametrize(
    ("needed", "older"), [("2.4", "alignkit"), ("3.0", "alignkit"), ("1.9", "the plugin")]
)
def test_a_plugin_for_another_version_is_refused_with_both_versions_and_what_to_upgrade(
    tmp_path, monkeypatch, needed, older
):
    monkeypatch.setattr("alignkit.api.API_VERSION", "2.3")
    monkeypatch.setattr("alignkit.registry.entry_points", lambda group: [])
    with pytest.raises(
        UserError, match=rf"plugin 'mine' \(.*mine.py\) needs version {needed} .* version 2.3"
    ) as caught:
        load(tmp_path, PLUGIN.format(needed=needed))
    assert caught.value.hint == f"Upgrade {older}, which is the older one."


@pytest.mark.parametrize("needed", [1.0, "1", "one.two"])
def test_another_form_of_the_version_is_refused(tmp_path, needed):
    with pytest.raises(UserError, match=r"\"major.minor\" is expected"):
        load(tmp_path, PLUGIN.format(needed=needed))


def test_a_plugin_that_imports_what_is_not_there_is_told_the_version(tmp_path):
    with pytest.raises(UserError, match="cannot import name 'Later'") as caught:
        load(tmp_path, "from alignkit import Later")
    assert f"version {API_VERSION} of the API" in str(caught.value)


def test_the_template_and_the_plugins_of_this_version_load():
    from alignkit.commands import new_method

    assert new_method.alignkit_api == API_VERSION
    assert Registry().plugins
