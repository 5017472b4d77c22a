"""The fingerprint tells bases apart by their content, wherever they lie."""

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from alignkit import recipe
from alignkit.models.fingerprint import base_fingerprint
from alignkit.registry import Registry


def fingerprint(folder: Path) -> str:
    return base_fingerprint(recipe.Model(base=str(folder)), Registry())


def flip_a_byte(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_the_fingerprint_is_of_the_content_wherever_the_folder_lies(base, tmp_path):
    first = fingerprint(base)
    folder = shutil.copytree(base, tmp_path / "copy")
    assert fingerprint(folder) == first
    (folder / "README.md").write_text("says nothing of the weights")
    assert fingerprint(folder) == first

    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: weight * 2 for name, weight in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    changes = [fingerprint(folder)]
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_text(
            (base / name).read_text().replace("red", "rod") + " " if (base / name).is_file() else "template"
        )
        changes.append(fingerprint(folder))
    assert len({first, *changes}) == 5


def test_of_large_weights_blocks_from_the_first_byte_to_the_last_count(base, tmp_path, monkeypatch):
    monkeypatch.setattr("alignkit.models.fingerprint.WHOLE", 1000)
    monkeypatch.setattr("alignkit.models.fingerprint.BLOCK", 100)
    folder = shutil.copytree(base, tmp_path / "copy")
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    seen = {fingerprint(folder)}
    for at in (0, (size - 100) // 63 + 50, size - 1):
        flip_a_byte(weights, at)
        seen.add(fingerprint(folder))
    assert len(seen) == 4
    flip_a_byte(weights, 150)  # between blocks: the price of not reading all
    assert fingerprint(folder) in seen


def test_a_model_on_the_hub_is_known_by_its_name_and_revision():
    seen = {
        base_fingerprint(recipe.Model(base=base, revision=revision), Registry())
        for base in ("owner/one", "owner/other")
        for revision in (None, "v1")
    }
    assert len(seen) == 4
