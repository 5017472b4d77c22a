"""The words of the page: a stage in one line, a measure with its unit, a number in few digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from alignkit.report.reading import REWARD_MODELS, Evaluation, Stage

TERM_KEYS = {"objective", "weight", "on", "trains"}
MEASURES = {
    "kl": "KL to the reference (nats per completion)",
    "objective/kl": "KL to the reference (nats per completion)",
    "length": "length (tokens)",
    "rollouts/length": "length (tokens)",
    "rollouts/finished": "finished (share of completions)",
    "rollouts/reward": "optimised reward",
    "unfinished": "unfinished (share of completions)",
    "accuracy": "accuracy (share of pairs)",
    "rewards/accuracies": "accuracy (share of pairs)",
    "length_only_accuracy": "accuracy of “the longer wins”",
    "calibration_error": "calibration error",
    "length_correlation": "correlation of reward and length",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
}


def measure_label(name: str, against: str | None = None) -> str:
    """A measure's name for people, with its unit."""
    if name in MEASURES:
        return MEASURES[name]
    kind, _, rest = name.partition("/")
    if kind == "win_rate":
        return f"win rate against {against or 'the baseline'}, {rest}"
    if name.startswith("repetition-"):
        return f"repetition (share of {name.partition('-')[2]}-grams)"
    if name.startswith("distinct-"):
        return f"distinct {name.partition('-')[2]}-grams (share)"
    return name


def number_label(value: float) -> str:
    """Three significant digits, whole numbers as such, without an exponent where none is needed."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == round(size) and size < 1e6:
        return f"{value:,.0f}"
    if size >= 1e6 or size < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def stage_line(stage: Stage) -> str:
    """What the stage does, in one line."""
    settings, inputs = stage.settings, stage.manifest.inputs
    if stage.verb == "train":
        terms = " + ".join(_term(term) for term in inputs.get("terms") or [])
        start = f" from {settings['start']}" if settings.get("start") else ""
        reward = f", reward {_names(settings['reward'])}" if settings.get("reward") else ""
        length = (
            f"{settings['steps']} steps"
            if settings.get("steps")
            else (f"{settings.get('epochs', 1):g} epochs")
        )
        return f"train {terms or '?'} on {settings.get('on', '?')}{start}{reward}: {length}"
    if stage.verb == "sample":
        return (
            f"sample {settings.get('per_prompt', '?')} a prompt of {settings.get('on', '?')} from "
            f"{settings.get('sample', '?')}"
        )
    if stage.verb == "label":
        return f"label {settings.get('label', '?')} by {_names(settings.get('by', '?'))}"
    if stage.verb == "evaluate":
        return f"evaluate {_names(settings.get('evaluate', '?'))} on {settings.get('on', '?')}"
    return stage.verb


def summary_line(stage: Stage, most: int = 4) -> str:
    """The stage's first few final numbers; the loss before the rest. Of an evaluation, which target is
    ahead.
    """
    if stage.evaluation is not None:
        return _ahead(stage.evaluation)
    numbers = {
        name: float(value)
        for name, value in stage.summary.items()
        if isinstance(value, Real) and not isinstance(value, bool)
    }
    order = sorted(
        numbers, key=lambda name: (name != "steps", not name.endswith("loss"), "/logps" in name, name)
    )
    return ", ".join(
        f"{name.replace('held_out/', 'held-out ').replace('_', ' ')} {number_label(numbers[name])}"
        for name in order[:most]
    )


def _ahead(evaluation: Evaluation) -> str:
    """The target with the highest mean of the first reward, or of the accuracy."""
    measure = "accuracy" if evaluation.kind == REWARD_MODELS else next(iter(evaluation.rewards), "")
    found = {
        name: measures[measure].mean for name, measures in evaluation.targets.items() if measure in measures
    }
    found = {name: mean for name, mean in found.items() if math.isfinite(mean)}
    if not found:
        return ""
    name = max(found, key=lambda name: found[name])
    return f"highest {measure}: {name}, {number_label(found[name])}"


def _term(term: Mapping[str, Any]) -> str:
    weight = term.get("weight", 1)
    options = ", ".join(
        f"{name} {value:g}" for name, value in term.items() if name not in TERM_KEYS and _is_number(value)
    )
    name = f"{term.get('objective', '?')} ({options})" if options else f"{term.get('objective', '?')}"
    return name if weight == 1 else f"{weight:g} × {name}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(value: Any) -> str:
    """The names in a setting: of a stage, of a reward, or of several of them."""
    if isinstance(value, Mapping):
        name = str(value.get("reward") or value.get("stage") or ", ".join(value))
        return f"{name} (best of {value['best_of']})" if value.get("best_of", 1) != 1 else name
    return value if isinstance(value, str) else ", ".join(_names(item) for item in value)
