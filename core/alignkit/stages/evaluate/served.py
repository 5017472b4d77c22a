"""Makes the models of stages as they are served, for an evaluation that measures those (`as: merged`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from alignkit.errors import UserError
from alignkit.evaluation.quantization_cost import free_memory
from alignkit.example import Group
from alignkit.models.base import bytes_of_weights, load_base
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.export import DTYPE, export_merged
from alignkit.models.memory import bytes_free
from alignkit.models.roles import Roles
from alignkit.progress import Progress
from alignkit.recipe import BASE
from alignkit.run.folder import StageFolder
from alignkit.stages.context import RunContext

MERGED = "merged"
"""The value of `as` that asks for these models."""

MARGIN = 2
"""The free memory that is needed, as a multiple of the weights: the key-value cache takes some too."""


class ServedModels:
    """The merged models of the run's stages, exactly as `export --merged` writes them.

    They lie in `folder` until `close`. The base itself is served unquantized.
    """

    def __init__(self, context: RunContext, folder: StageFolder) -> None:
        self.context, self.folder = context, folder.merged
        self.close()  # what a killed evaluation left may be half written

    def place(self, stage: str) -> Path:
        """Return the folder of a stage's merged model, which is written when it is first needed."""
        to = self.folder / stage
        if not to.is_dir():
            to.parent.mkdir(parents=True, exist_ok=True)
            export_merged(self.context.run.stage(stage).path, to)
        return to

    @contextmanager
    def policy(self, stage: str) -> Iterator[Roles]:
        """Give a stage's merged model as the role `policy`, without an adapter; it is freed afterwards.

        Raises UserError where the memory has no room for it beside the base.
        """
        spec, device = self.context.base.settings, self.context.base.device
        self._require_room(device)
        plain = {"quantization": "none", "block_size": 64, "dtype": DTYPE}
        if stage != BASE:
            plain |= {"base": str(self.place(stage)), "revision": None}
        base = load_base(spec.model_copy(update=plain), self.context.registry, device)
        with Roles(base, spec.lora, self.context.seed) as roles:
            roles.add("policy", trainable=False)
            yield roles
        del base, roles
        free_memory()

    def log_ratios(
        self, stage: str, against: str, groups: Sequence[Group], progress: Progress
    ) -> list[list[float]]:
        """Return log π(y | x) − log π'(y | x) of each completion, as [prompt][completion].

        π and π' are the merged models of `stage` and `against`, which are loaded one after the other.
        """
        ours, theirs = (self._logps(name, groups, progress) for name in (stage, against))
        sizes = [len(group.completions) for group in groups]
        return [part.tolist() for part in (ours - theirs).split(sizes)]

    def close(self) -> None:
        """Delete the models."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _logps(self, stage: str, groups: Sequence[Group], progress: Progress) -> torch.Tensor:
        with self.policy(stage) as roles:
            found = compute_signals(roles, groups, ["policy"], forward_budget(), progress=progress)
            return found["logps"].sum(-1)  # (N,)

    def _require_room(self, device: torch.device) -> None:
        base = self.context.base.base
        numbers = bytes_of_weights(base) // base.dtype.itemsize
        need, found = MARGIN * numbers * getattr(torch, DTYPE).itemsize, bytes_free(device)
        if need > found:
            raise UserError(
                f"no room for a merged model on {device}: {need / 1e9:.1f} GB are needed, "
                f"{found / 1e9:.1f} GB are free",
                where="as",
                hint="Evaluate `as: trained`, or free memory.",
            )
