"""Keeps the signals of frozen roles over fixed data on disk, so that they are computed once.

Log-probabilities of a reference are such signals. They outlast a run that is killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import pad

from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.progress import Progress
from alignkit.run.files import TENSORS, find_damage, write_verified

SHARD = 256
"""Groups of a shard: seconds of work, which is what a killed run may lose."""


class FrozenSignals:
    """The signals of the roles `names` for each of `groups`, in shards, each a folder in `folder`.

    A shard appears whole or not at all, so a killed run goes on at the first shard that is missing. A shard
    that was damaged later is named through `note` and computed again. budget: tokens that are computed at
    once. entropy: whether the policy's entropy is kept too, where it is one of the roles.
    """

    def __init__(
        self,
        folder: Path,
        roles: Roles,
        names: Sequence[str],
        groups: Sequence[Group],
        budget: int,
        note: Callable[[str], None],
        *,
        entropy: bool = False,
    ) -> None:
        self.folder, self.roles, self.names = folder, roles, tuple(names)
        self.groups, self.budget, self.note, self.entropy = groups, budget, note, entropy
        self._values: dict[int, dict[str, Tensor]] = {}  # [group][signal]: (n, t) or (n,), t the group's own

    def compute(self, indices: Sequence[int], progress: Progress) -> None:
        """Make the signals of the groups `indices` available to `attach`.

        progress: called with the number of groups that are done, and of all of them. Shards that are there
        already count as done at once, so that the pace is that of the computation.
        """
        wanted = sorted(set(indices))
        if not self.names or not wanted:
            return
        shards = [wanted[start : start + SHARD] for start in range(0, len(wanted), SHARD)]
        missing = [shard for shard in shards if not self._is_whole(self._place(shard))]
        done = len(wanted) - sum(map(len, missing))
        progress(done, len(wanted))
        for shard in missing:
            self._write(shard, self._place(shard), partial(_within, progress, done, len(wanted)))
            done += len(shard)
        for shard in shards:
            for key, value in load_file(self._place(shard) / TENSORS).items():
                signal, _, index = key.rpartition("/")
                self._values.setdefault(int(index), {})[signal] = value

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the signals of the groups `indices`, which `rows` consists of: (N, T) or (N,), as the batch.

        `compute` comes first.
        """
        if not self.names:
            return {}
        width, device = rows.batch.mask.shape[1], rows.batch.mask.device
        return {
            signal: torch.cat([_widened(self._values[index][signal], width) for index in indices]).to(device)
            for signal in self._values[indices[0]]
        }

    def _place(self, shard: Sequence[int]) -> Path:
        return self.folder / hashlib.sha256(repr(list(shard)).encode()).hexdigest()[:16]

    def _is_whole(self, place: Path) -> bool:
        """Tell whether a shard is there; one that is damaged is named."""
        damage = find_damage(place) if place.exists() else None
        if damage:
            self.note(f"the signals of frozen roles in {place} are damaged ({damage}) and computed again")
        return place.exists() and not damage

    def _write(self, shard: Sequence[int], place: Path, progress: Progress) -> None:
        groups = [self.groups[index] for index in shard]
        sizes = [len(group.completions) for group in groups]
        tensors = {}
        computed = compute_signals(
            self.roles, groups, self.names, self.budget, entropy=self.entropy, progress=progress
        )
        for signal, values in computed.items():
            for index, group, block in zip(shard, groups, values.split(sizes), strict=True):
                own = max(map(len, group.completions))
                tensors[f"{signal}/{index}"] = block[..., :own].clone() if block.dim() == 2 else block.clone()
        write_verified(place, lambda beside: save_file(tensors, beside / TENSORS))


def _within(progress: Progress, before: int, total: int, done: int, of_shard: int) -> None:
    """Count a shard's groups among all."""
    progress(before + done, total)


def _widened(block: Tensor, width: int) -> Tensor:
    """Pad a group's values per token, (n, t), with zeros to (n, width); values per completion stay (n,)."""
    return pad(block, (0, width - block.shape[1])) if block.dim() == 2 else block
