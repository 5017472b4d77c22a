"""Compares a model as it is served, merged and loaded by plain transformers, with what was trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from alignkit.data.chosen import Chosen
from alignkit.evaluation.quantization_cost import free_memory
from alignkit.evaluation.statistics import Interval, bootstrap
from alignkit.example import Group
from alignkit.models.adapters import CONFIG
from alignkit.models.base import load_base
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.export import model_settings
from alignkit.models.pretrained import load_pretrained
from alignkit.models.roles import Roles
from alignkit.registry import Registry
from alignkit.run.finished import finished_adapter
from alignkit.run.folder import StageFolder

MUCH = 0.05
"""The mean |Δ| of log-probabilities, in nats per token, above which the line says what to do."""


@dataclass(frozen=True)
class Shift:
    """How far the served model is from the trained one, on some completions.

    scored: whether it is a reward model. size: the mean |Δ|, of each token's log-probability or of each
    score. change: the mean change of a completion's log-probability, or of its score, with its interval.
    """

    scored: bool
    size: float
    change: Interval
    of: str

    @property
    def line(self) -> str:
        """Tell the shift in one line."""
        change = f"{self.change.mean:+.2f} ({self.change.low:+.2f}…{self.change.high:+.2f})"
        count = f"{self.change.count} {self.of}"
        if self.scored:
            return f"merged, its scores differ by {self.size:.3f} on average and change by {change}: {count}"
        said = (
            f"merged, its log-probabilities differ by {self.size:.3f} nats per token from those that were "
            f"trained and evaluated, and those of a whole text change by {change}: {count}"
        )
        return f"{said}. `evaluate` with `as: merged` measures this model" if self.size > MUCH else said


def measure_shift(stage: Path, merged: Path, dtype: torch.dtype) -> Shift | None:
    """Compare the model in the folder `merged`, loaded in `dtype`, with the finished stage it was made of.

    Return None where the stage kept no completions: it was done by an earlier version, or its data has none
    to compare on.
    """
    file = StageFolder(stage).measured
    chosen = Chosen.from_dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
    if chosen is None or not chosen.groups:
        return None
    groups, device = chosen.groups, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scored = is_scored(stage)
    before = _trained(stage, groups, "reward" if scored else "policy", device)
    after = served_scores(merged, groups, dtype) if scored else _served_logps(merged, groups, dtype, device)
    changes = [ours - theirs for ours, theirs in zip(after, before, strict=True)]
    size = torch.cat([change.abs().flatten() for change in changes]).mean().item()
    return Shift(scored, size, bootstrap([change.sum().item() for change in changes]), chosen.of)


def is_scored(stage: Path) -> bool:
    """Return whether a finished stage's adapter has a head, as reward models have."""
    adapter, _ = finished_adapter(stage)
    return json.loads((adapter / CONFIG).read_text())["task_type"] == "SEQ_CLS"


@torch.no_grad()
def served_scores(folder: Path, groups: Sequence[Group], dtype: torch.dtype) -> list[Tensor]:
    """Return the score, (), of every completion as a merged reward model gives it, group by group."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _loaded(AutoModelForSequenceClassification, folder, dtype, device) as model:
        return [
            model(torch.tensor([group.prompt + completion], device=device)).logits[0, 0].double().cpu()
            for group in groups
            for completion in group.completions
        ]


@torch.no_grad()
def _served_logps(
    folder: Path, groups: Sequence[Group], dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    """Return the log-probabilities of each completion's tokens that the policy wrote, by plain calls."""
    found = []
    with _loaded(AutoModelForCausalLM, folder, dtype, device) as model:
        for group in groups:
            completion = torch.tensor(group.completions[0], device=device)
            ids = torch.tensor([[*group.prompt, *group.completions[0]]], device=device)
            logits = model(ids).logits[0, len(group.prompt) - 1 : -1].float()  # (T, V)
            logps = logits.log_softmax(-1).gather(1, completion[:, None])[:, 0]
            found.append(_written(logps.double().cpu(), group))
    return found


def _trained(stage: Path, groups: Sequence[Group], role: str, device: torch.device) -> list[Tensor]:
    """Return the same of the model that the stage trained, as the engine computes it."""
    adapter, manifest = finished_adapter(stage)
    place = json.loads((adapter / CONFIG).read_text())["base_model_name_or_path"]
    spec = model_settings(manifest.inputs.model).model_copy(update={"base": place})
    with Roles(load_base(spec, Registry(), device), spec.lora, seed=0) as roles:
        roles.add(role, trainable=False, start=adapter)
        [values] = compute_signals(roles, groups, [role], forward_budget()).values()
    free_memory()
    if values.dim() == 1:
        return list(values.double())
    return [
        _written(row[: len(group.completions[0])].double(), group)
        for row, group in zip(values, groups, strict=True)
    ]


def _written(logps: Tensor, group: Group) -> Tensor:
    """Return the values, (T,), at the tokens of the only completion that the policy wrote."""
    return logps if group.masks is None else logps[torch.tensor(group.masks[0])]


@contextmanager
def _loaded(cls: Any, folder: Path, dtype: torch.dtype, device: torch.device) -> Iterator[Any]:
    """Give a model as plain transformers loads it, and free it afterwards."""
    model = load_pretrained(cls, str(folder), None, where=str(folder), dtype=dtype).to(device).eval()
    yield model
    del model
    free_memory()
