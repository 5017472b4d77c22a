"""The YAML of a recipe, and overrides from the command line."""

import pytest

from alignkit.errors import UserError
from alignkit.recipe.file import apply_override, read_yaml


def read(tmp_path, text):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return read_yaml(file)


def test_yaml_1_2_is_read(tmp_path):
    assert read(tmp_path, "on: data\nrate: 1e-5\nyes: no\n") == {"on": "data", "rate": 1e-5, "yes": "no"}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("name: demo\nname: again\n", "recipe.yaml:2", "duplicate key"),
        ("\nname: !!python/object:os.system x\n", "recipe.yaml:2", "could not determine a constructor"),
        ("name: [demo\n", "recipe.yaml", "The recipe is not valid YAML."),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(tmp_path, text, where, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert where in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_yaml(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("override", "result"),
    [
        (
            "training.steps=7",
            {"training": {"steps": 7}, "stages": {"a": {"train": "sft"}}, "data": {"x": "f"}},
        ),
        (
            "stages.a.train={sft: {}, dpo: {}}",
            {"stages": {"a": {"train": {"sft": {}, "dpo": {}}}}, "data": {"x": "f"}},
        ),
        ("stages.a.start=", {"stages": {"a": {"train": "sft", "start": None}}, "data": {"x": "f"}}),
        (
            "stages.a.train.sft.weight=0.5",
            {"stages": {"a": {"train": {"sft": {"weight": 0.5}}}}, "data": {"x": "f"}},
        ),
        ("data.x.limit=3", {"stages": {"a": {"train": "sft"}}, "data": {"x": {"path": "f", "limit": 3}}}),
    ],
)
def test_an_override_sets_one_value_and_reaches_into_short_forms(override, result):
    raw = {"stages": {"a": {"train": "sft"}}, "data": {"x": "f"}}
    apply_override(raw, override)
    assert raw == result


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.steps", "cannot read the override 'training.steps'"),
        ("=3", "cannot read the override"),
        ("seed.x=3", "cannot set seed.x: seed is not a mapping"),
        ("training.steps=[1", "is not valid YAML"),
    ],
)
def test_a_bad_override_is_refused(override, words):
    with pytest.raises(UserError, match=words):
        apply_override({"seed": 0}, override)


def test_a_file_without_keys_takes_no_override():
    with pytest.raises(UserError, match="the recipe is not a mapping"):
        apply_override(None, "name=x")


def test_a_name_is_written_out_where_an_option_of_it_is_set_and_data_of_any_name_is_a_path():
    raw = {"training": {"optimizer": "adamw", "observers": "early-stopping"}, "data": {"train": "a.jsonl"}}
    apply_override(raw, "training.optimizer.adamw.beta1=0.5")
    apply_override(raw, "training.observers.early-stopping.patience=2")
    apply_override(raw, "data.train.limit=3")
    assert raw == {
        "training": {
            "optimizer": {"adamw": {"beta1": 0.5}},
            "observers": {"early-stopping": {"patience": 2}},
        },
        "data": {"train": {"path": "a.jsonl", "limit": 3}},
    }
