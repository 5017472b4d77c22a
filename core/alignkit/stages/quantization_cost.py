"""Tells once on which data a run's quantization costs how much, and keeps it in the run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial

from alignkit.data.chosen import Chosen, choose_completions
from alignkit.evaluation.quantization_cost import QuantizationCost, measure_cost
from alignkit.example import Group
from alignkit.progress import counting
from alignkit.run.files import write_text
from alignkit.run.folder import RunFolder, StageFolder
from alignkit.stages.context import RunContext


def tell_quantization_cost(context: RunContext, folder: StageFolder, groups: Sequence[Group]) -> None:
    """Write `quantization.json`: what quantization costs on a stage's data. Does nothing without any.

    What was measured before in this run, on the same tokens, is not measured again, and not said again.
    """
    spec = context.base.settings
    if spec.quantization == "none":
        return
    chosen = choose_completions(groups)
    key = _key(context, chosen)
    cost = _kept(context.run).get(key)
    if cost is None:
        progress = partial(counting, context.display)
        cost = measure_cost(context.base.base, spec, context.registry, chosen, progress)
        context.display.note(cost.line)
        if cost.cost is not None:
            _keep(context.run, key, cost)
    write_text(folder.quantization, json.dumps(cost.to_dict(), indent=2) + "\n")


def _key(context: RunContext, chosen: Chosen) -> str:
    """Return what the cost depends on, hashed."""
    spec = context.base.settings
    made_of = [
        context.base.fingerprint,
        spec.quantization,
        spec.block_size,
        str(context.base.base.dtype),
        chosen.to_dict(),
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _kept(run: RunFolder) -> dict[str, QuantizationCost]:
    """Return the costs that were measured in this run."""
    if not run.quantization_costs.is_file():
        return {}
    raw = json.loads(run.quantization_costs.read_text(encoding="utf-8"))
    return {key: QuantizationCost(**cost) for key, cost in raw.items()}


def _keep(run: RunFolder, key: str, cost: QuantizationCost) -> None:
    costs = {known: value.to_dict() for known, value in _kept(run).items()}
    write_text(run.quantization_costs, json.dumps({**costs, key: cost.to_dict()}, indent=2) + "\n")
