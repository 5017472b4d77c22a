"""Signals of frozen roles over fixed data (reference log-probabilities), computed once and kept on disk
across resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignkit.data.order import micro_batches
from alignkit.data.rows import Rows
from alignkit.example import Group
from alignkit.models.roles import Roles
from alignkit.run.files import TENSORS, find_damage, write_verified

SHARD = 256
PER_COMPLETION = ("scores",)


class FrozenSignals:
    """The signals of `names` for each of `groups`, in shards, each a folder in `folder`.

    A shard is written as checkpoints are, so a killed pass goes on at the first missing shard, and one
    damaged later is named through `note` and computed again.
    """

    def __init__(
        self,
        folder: Path,
        roles: Roles,
        names: Sequence[str],
        groups: Sequence[Group],
        budget: int,
        note: Callable[[str], None],
    ) -> None:
        self.folder, self.roles, self.names, self.groups, self.budget, self.note = (
            folder,
            roles,
            tuple(names),
            groups,
            budget,
            note,
        )
        self.values: dict[int, dict[str, Tensor]] = {}

    def compute(self, indices: Sequence[int], progress: Callable[[int, int], None]) -> None:
        """Make the signals of the groups `indices` available to `attach`."""
        wanted = sorted(set(indices))
        if not self.names or not wanted:
            return
        for start in range(0, len(wanted), SHARD):
            shard = wanted[start : start + SHARD]
            place = self._place(shard)
            damage = find_damage(place) if place.exists() else None
            if damage:
                self.note(f"the signals of frozen roles in {place} are damaged ({damage}) and computed again")
            if damage or not place.exists():
                self._write(shard, place)
            for key, value in load_file(place / TENSORS).items():
                name, _, index = key.rpartition("/")
                self.values.setdefault(int(index), {})[name] = value
            progress(start + len(shard), len(wanted))

    def attach(self, rows: Rows, indices: Sequence[int]) -> dict[str, Tensor]:
        """The cached signals of the groups `indices`, laid out as the rows' batch is."""
        if not self.names:
            return {}
        found = {}
        for name in self.values[indices[0]]:
            flat = torch.cat([self.values[index][name] for index in indices]).to(rows.slot.device)
            found[name] = flat if name in PER_COMPLETION else rows.scatter(flat)
        return found

    def _place(self, shard: Sequence[int]) -> Path:
        return self.folder / hashlib.sha256(repr(list(shard)).encode()).hexdigest()[:16]

    def _write(self, shard: Sequence[int], place: Path) -> None:
        found = signals_by_group(self.roles, self.groups, shard, self.names, self.budget)
        tensors = {
            f"{signal}/{index}": value for signal, values in found.items() for index, value in values.items()
        }
        write_verified(place, lambda beside: save_file(tensors, beside / TENSORS))


@torch.no_grad()
def signals_by_group(
    roles: Roles,
    groups: Sequence[Group],
    indices: Sequence[int],
    names: Sequence[str],
    budget: int,
    *,
    entropy: bool = False,
) -> dict[str, dict[int, Tensor]]:
    """The signals of some roles for the groups `indices`, without dropout, on the CPU: [signal][index], the
    completions of a group one after the other, not padded."""
    found: dict[str, dict[int, Tensor]] = {}
    with roles.without_dropout():
        for part in micro_batches(groups, indices, budget):
            rows = roles.rows([groups[index] for index in part]).to(roles.base.device)
            for name in names:
                for signal, value in roles.signals(name, rows, entropy=entropy and name == "policy").items():
                    for number, index in enumerate(part):
                        mine = rows.batch.group == number
                        kept = value[mine][rows.batch.mask[mine]] if value.ndim == 2 else value[mine]
                        found.setdefault(signal, {})[index] = kept.float().cpu().contiguous()
    return found
