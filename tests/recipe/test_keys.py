"""The keys that a recipe may have."""

import pytest

from alignkit.errors import UserError
from alignkit.recipe.keys import Key, find_keys, recipe_keys
from alignkit.registry import Registry


@pytest.fixture(scope="module")
def registry():
    return Registry()


def walk(keys):
    for key in keys:
        yield key
        yield from walk((*key.keys, *key.further))


def paths(registry, path):
    return [key.path for key in find_keys(path, registry)]


def test_every_key_of_a_recipe_is_listed_with_its_description(registry):
    keys = {key.path: key for key in walk(recipe_keys(registry))}
    assert keys["training.max_length"] == Key(
        "training.max_length",
        keys["training.max_length"].description,
        "whole number",
        "1024",
        "at least 8",
    )
    assert {
        "model.lora.r",
        "data.<name>.path",
        "stages.<train>.train.<objective>.weight",
        "stages.<train>.train.dpo.beta",
        "stages.<train>.sampling.top_k",
        "stages.<sample>.top_k",
        "stages.<evaluate>.evaluate.<stage>.by.<reward>.standardize",
        "stages.<label>.by.length.unit",
        "stages.<block>.stages.<label>.noise",
    } <= keys.keys()
    assert not [path for path, key in keys.items() if not key.description]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("training.max_length", ["training.max_length"]),
        ("model.lora.r", ["model.lora.r"]),
        ("data.held-out.path", ["data.<name>.path"]),
        ("stages.any.steps", ["stages.<train>.steps"]),
        ("stages.any.train.dpo.beta", ["stages.<train>.train.dpo.beta"]),
        ("stages.any.train.dpo.weight", ["stages.<train>.train.dpo.weight"]),
        ("stages.any.reward.judge.weight", ["stages.<train>.reward.<reward>.weight"]),
        ("stages.any.evaluate.ppo.best_of", ["stages.<evaluate>.evaluate.<stage>.best_of"]),
        ("stages.any.on", ["stages.<train>.on", "stages.<sample>.on", "stages.<evaluate>.on"]),
        ("stages.sample.on", ["stages.<sample>.on"]),
        ("stages.train.train", ["stages.<train>.train"]),
        ("stages.rounds.stages.dpo.steps", ["stages.<block>.stages.<train>.steps"]),
    ],
)
def test_a_path_finds_its_key_whatever_the_names_of_stages_and_data(registry, path, found):
    assert paths(registry, path) == found


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trainin", "Did you mean 'training'"),
        ("training.max_lenght", "Did you mean 'max_length'"),
        ("stages.any.held_ut", "Did you mean 'held_out'"),
        ("stages.sample.noise", "unknown key"),
        ("stages.any.train.dpo.bet", "Did you mean 'beta'"),
        ("seed.x", "no keys below"),
        ("", "Known: data, model"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(registry, path, words):
    with pytest.raises(UserError) as caught:
        find_keys(path, registry)
    assert caught.value.where == path
    assert words in str(caught.value)


def test_keys_that_stand_in_several_places_are_listed_in_one(registry):
    (train,) = find_keys("stages.train", registry)
    assert [key.name for key in train.keys] == [
        "train",
        "on",
        "start",
        "roles",
        "reward",
        "watch",
        "seed",
        "seeds",
    ]
    assert train.listed_at == "training"
    assert "learning_rate" in {key.name for key in train.further}
    (sampling,) = find_keys("training.sampling", registry)
    assert (sampling.further, sampling.listed_at) == ((), "")
    (held_out,) = find_keys("training.held_out", registry)
    assert (held_out.keys, held_out.listed_at) == ((), "data.<name>")


def test_a_plugins_options_are_keys(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from alignkit import Field, Reward, hookimpl\n\n\n"
        "class Mine(Reward):\n"
        '    """Scores."""\n\n'
        '    name = "mine"\n'
        '    size: int = Field(3, ge=1, description="how large")\n\n\n'
        "def plain(prompts, completions, **columns):\n"
        '    """Gives 1."""\n\n\n'
        "@hookimpl\n"
        "def register_rewards(register):\n"
        "    register(Mine)\n"
        "    register(plain)\n"
    )
    registry = Registry([file])
    (size,) = find_keys("stages.any.reward.mine.size", registry)
    assert (size.description, size.default, size.bounds) == ("how large", "3", "at least 1")
    (plain,) = find_keys("stages.any.reward.plain", registry)
    assert [key.name for key in plain.keys] == ["weight", "standardize", "roles"]
