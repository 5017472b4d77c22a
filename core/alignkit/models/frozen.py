"""Signals of frozen roles over fixed data (reference log-probabilities), computed once and kept on disk across resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignkit.checkpoint import disk_errors
from alignkit.data.example import Group
from alignkit.data.order import micro_batches
from alignkit.data.rows import Rows
from alignkit.models.roles import Roles

SHARD = 256
PER_COMPLETION = ("scores",)


class FrozenSignals:
    """The signals of `names` for each of `groups`, in shards of files under `folder`.

    A shard is written whole or not at all, so a killed pass goes on at the first missing shard. Several processes share
    the work: each computes its own shards and reads the others' when `wait` returns.
    """

    def __init__(self, folder: Path, roles: Roles, names: Sequence[str], groups: Sequence[Group], budget: int) -> None:
        self.folder, self.roles, self.names, self.groups, self.budget = folder, roles, tuple(names), groups, budget
        self.values: dict[int, dict[str, Tensor]] = {}

    def compute(
        self,
        indices: Sequence[int],
        progress: Callable[[int, int], None],
        *,
        rank: int = 0,
        world: int = 1,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the signals of the groups `indices` available to `attach`."""
        wanted = sorted(set(indices))
        if not self.names or not wanted:
            return
        shards = [wanted[start : start + SHARD] for start in range(0, len(wanted), SHARD)]
        files = [self._file(shard) for shard in shards]
        for number, (shard, file) in enumerate(zip(shards, files, strict=True)):
            if number % world == rank and not file.is_file():
                self._write(shard, file)
            progress(min((number + 1) * SHARD, len(wanted)), len(wanted))
        wait()
        for file in files:
            for key, value in load_file(file).items():
                name, _, index = key.rpartition("/")
                self.values.setdefault(int(index), {})[name] = value

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """The cached signals of the groups `indices`, laid out as the rows' batch is."""
        if not self.names:
            return {}
        mask, device = rows.batch.mask, rows.batch.mask.device
        found = {}
        for name in self.values[indices[0]]:
            flat = torch.cat([self.values[index][name] for index in indices]).to(device)
            per_token = name not in PER_COMPLETION
            found[name] = torch.zeros(mask.numel(), device=device).scatter(0, rows.slot, flat).view(mask.shape) if per_token else flat
        return found

    def _file(self, shard: Sequence[int]) -> Path:
        return self.folder / f"{hashlib.sha256(repr(list(shard)).encode()).hexdigest()[:16]}.safetensors"

    @torch.no_grad()
    def _write(self, shard: Sequence[int], file: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for part in micro_batches(self.groups, shard, self.budget):
            rows = self.roles.rows([self.groups[index] for index in part]).to(self.roles.base.device)
            for name in self.names:
                for signal, value in self.roles.signals(name, rows).items():
                    for number, index in enumerate(part):
                        mine = rows.batch.group == number
                        kept = value[mine][rows.batch.mask[mine]] if value.ndim == 2 else value[mine]
                        tensors[f"{signal}/{index}"] = kept.float().cpu().contiguous()
        beside = file.with_suffix(".writing")
        with disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, beside)
            beside.replace(file)
