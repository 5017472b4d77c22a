"""`alignkit explain`."""

import pytest

from alignkit.recipe import Lora, Training

MAX_LENGTH = Training.model_fields["max_length"].description


def test_a_key_is_explained_with_its_path_type_default_bounds_and_meaning(alignkit):
    out, _ = alignkit("explain", "training.max_length")
    assert out.splitlines() == [
        "training.max_length",
        f"  meaning  {MAX_LENGTH}",
        "  type     whole number",
        "  default  1024",
        "  bounds   at least 8",
    ]


def test_a_required_key_has_no_default(alignkit):
    out, _ = alignkit("explain", "data.held-out.path")
    assert out.startswith("data.<name>.path\n")
    assert "no default: the key is required" in out


def test_without_a_key_the_tree_of_all_is_listed(alignkit):
    lines = alignkit("explain")[0].splitlines()
    (max_length,) = (line for line in lines if MAX_LENGTH in line)
    assert max_length == f"  max_length: whole number = 1024 (at least 8)  {MAX_LENGTH}"
    tops = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    assert tops == ["name", "seed", "model", "data", "training", "stages"]
    assert "    r: whole number = 16 (at least 1)  rank of the adapter's two matrices" in lines
    assert "    … and the keys of training" in lines
    assert "      dpo: mapping" not in "\n".join(lines), "plugins' options are listed where one asks for them"


def test_a_section_lists_its_keys(alignkit):
    out, _ = alignkit("explain", "model.lora")
    names = [line.split(":")[0].strip() for line in out.splitlines()[3:]]
    assert names == list(Lora.model_fields)


def test_objectives_and_rewards_are_listed_with_their_options(alignkit):
    out, _ = alignkit("explain", "stages.any.train")
    assert "\n  dpo: mapping  Direct preference optimization" in out
    assert "\n    beta: number = 0.1 (more than 0)" in out
    assert "beta" in alignkit("explain", "stages.any.train.dpo.beta")[0]


def test_optimizers_and_observers_are_listed_with_their_options(alignkit):
    out, _ = alignkit("explain", "training.optimizer")
    assert "\n  type     optimizer or {optimizer: options}\n  default  adamw\n" in out
    assert "\n    ratio: number = 16 (more than 0)" in out
    out, _ = alignkit("explain", "training.observers.early-stopping")
    assert "\n  patience: whole number = 3 (at least 1)" in out


def test_a_rate_or_rates_role_by_role_are_told(alignkit):
    lines = alignkit("explain", "training.learning_rate")[0].splitlines()
    assert "  type     number or mapping" in lines
    assert "  bounds   more than 0" in lines


def test_a_key_of_several_verbs_is_explained_for_each(alignkit):
    out, _ = alignkit("explain", "stages.any.on")
    titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert titles == ["stages.<train>.on", "stages.<sample>.on", "stages.<evaluate>.on"]


@pytest.mark.parametrize(
    ("key", "words"),
    [("training.max_lenght", "Did you mean 'max_length'"), ("seed.x", "no keys below it")],
)
def test_an_unknown_key_is_a_mistake(alignkit, key, words):
    _, err = alignkit("explain", key, code=2)
    assert f"{key}: unknown key" in err
    assert words in err
