"""Samplers are found by the name under which a plugin registered them."""

import pytest
from tiny_models import tiny_roles

from alignkit import Drawn, Sampler, Sampling, UserError
from alignkit.registry import Registry
from alignkit.sampling.engine_sampler import EngineSampler
from alignkit.sampling.lookup import make_sampler


def test_cores_own_sampler_is_registered_as_a_plugins_is():
    registry = Registry()

    assert registry.samplers.owners["engine"].source.startswith("alignkit ")
    assert isinstance(make_sampler(registry, "engine", tiny_roles()), EngineSampler)


PLUGIN = """
from alignkit import Drawn, Sampler, hookimpl

class Parrot(Sampler):
    name = "parrot"

    def sample(self, role, prompts, settings, *, numbers=None, progress=None):
        return [[Drawn(prompt, [0.0] * len(prompt), True)] for prompt in prompts]

class Absent(Sampler):
    name = "absent"

    @classmethod
    def missing(cls):
        return "the package absent is not installed: pip install absent"

@hookimpl
def register_samplers(register):
    register(Parrot)
    register(Absent)
"""


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return Registry([tmp_path / "plugin.py"])


def test_a_plugins_sampler_is_made_by_its_name(registry):
    sampler = make_sampler(registry, "parrot", tiny_roles(), "quantized")

    assert isinstance(sampler, Sampler)
    assert sampler.weights == "quantized"
    assert sampler.plugin == "plugin"
    assert sampler.sample("policy", [[1, 2]], Sampling()) == [[Drawn([1, 2], [0.0, 0.0], True)]]


def test_a_sampler_that_is_not_installed_is_an_error_that_names_those_that_are(registry):
    with pytest.raises(UserError, match="the package absent is not installed: pip install absent") as error:
        make_sampler(registry, "absent", tiny_roles(), where="stages.answers.sampler")

    assert error.value.where == "stages.answers.sampler"
    assert "engine, parrot" in str(error.value)
    assert "absent" not in (error.value.hint or "")


def test_an_unknown_sampler_is_an_error_with_the_nearest_name(registry):
    with pytest.raises(UserError, match="Did you mean 'engine'"):
        make_sampler(registry, "engines", tiny_roles())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("class Odd: name = 'odd'", "a subclass of alignkit.Sampler is expected"),
        ("class Odd(Sampler): pass", "sampler Odd .* has no name"),
    ],
)
def test_what_is_no_sampler_is_refused(tmp_path, body, words):
    (tmp_path / "odd.py").write_text(
        f"from alignkit import Sampler, hookimpl\n{body}\n@hookimpl\ndef register_samplers(register): "
        "register(Odd)\n"
    )
    with pytest.raises(UserError, match=words):
        Registry([tmp_path / "odd.py"])


def test_without_any_sampler_the_installation_is_named():
    """The installed metadata lists the plugins; it stays old where only the code was brought up to date."""
    registry = Registry()
    registry.samplers.items.clear()
    with pytest.raises(UserError, match="not installed as this version lists them") as error:
        make_sampler(registry, "engine", tiny_roles())
    assert "pip install" in (error.value.hint or "")


def test_a_sampler_that_cannot_be_made_is_named_with_its_line(tmp_path):
    (tmp_path / "odd.py").write_text(
        "from alignkit import Sampler, hookimpl\nclass Odd(Sampler):\n    name = 'odd'\n"
        "    def __init__(self, roles, weights):\n        self.size = roles.size\n"
        "@hookimpl\ndef register_samplers(register): register(Odd)\n"
    )
    registry = Registry([tmp_path / "odd.py"])
    with pytest.raises(
        UserError, match=r"it cannot be made: AttributeError: .*'size' \(odd.py:5\)"
    ) as caught:
        make_sampler(registry, "odd", tiny_roles())
    assert caught.value.where == "sampler 'odd' of plugin 'odd'"


def test_a_sampler_that_cannot_say_what_it_misses_is_named_with_its_line(tmp_path):
    (tmp_path / "odd.py").write_text(
        "from alignkit import Sampler, hookimpl\nclass Odd(Sampler):\n    name = 'odd'\n"
        "    @classmethod\n    def missing(cls):\n        return {}['package']\n"
        "@hookimpl\ndef register_samplers(register): register(Odd)\n"
    )
    registry = Registry([tmp_path / "odd.py"])
    with pytest.raises(UserError, match=r"`missing` failed: KeyError: 'package' \(odd.py:6\)") as caught:
        make_sampler(registry, "odd", tiny_roles())
    assert caught.value.where == "sampler 'odd' of plugin 'odd'"
