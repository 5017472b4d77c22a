"""Finds the adapter that a finished training stage left, for commands that are given RUN/STAGE."""

from __future__ import annotations

from pathlib import Path

from alignkit.errors import UserError
from alignkit.run.folder import ADAPTER, StageFolder
from alignkit.run.manifest import Manifest, missing_or_changed, read_manifest


def finished_adapter(stage: Path) -> tuple[Path, Manifest]:
    """Return the adapter's folder, its files as they were when the stage was done, and the stage's manifest.

    Raises UserError where the stage has no adapter, is not finished, or where a file was changed or lost.
    """
    folder = StageFolder(stage)
    manifest = read_manifest(folder)
    if manifest is None or not folder.adapter.is_dir():
        raise UserError(
            f"{str(stage)!r} holds no trained adapter",
            hint=f"Finished training stages there: {', '.join(_trained_beside(stage)) or 'none'}. "
            "Give runs/RECIPE/STAGE.",
        )
    if not manifest.done:
        raise UserError(
            f"the stage {str(stage)!r} is not finished",
            hint="Run its recipe again; it continues from where it stopped.",
        )
    damaged = [name for name in missing_or_changed(folder, manifest) if name.startswith(f"{ADAPTER}/")]
    if damaged:
        raise UserError(
            f"{damaged[0]} is missing or was changed after the stage was done",
            where=str(stage),
            hint="Bring the file back, or run the recipe again; it does the stage again.",
        )
    return folder.adapter, manifest


def _trained_beside(stage: Path) -> list[str]:
    if not stage.parent.is_dir():
        return []
    return sorted(path.parent.parent.name for path in stage.parent.glob(f"*/{ADAPTER}/adapter_config.json"))
