"""Defines what is measured: the label and unit of a number, and what a measure of completions receives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alignkit.example import Text


@dataclass(frozen=True)
class Metric:
    """The label and unit of a number, and how it is shown.

    label: its name for people. unit: such as "tokens"; metrics of the unit "share of pairs" are shown beside
    what preferring the longer completion would get. divergence: it is the distance from the reference, in
    nats per completion, against which a report draws rewards. detail: it is kept in `metrics.jsonl` and drawn
    last, and is not on the line of a running stage.
    """

    label: str
    unit: str = ""
    divergence: bool = False
    detail: bool = False

    def __str__(self) -> str:
        """Return the label, with the unit where there is one."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the label, and what differs from the defaults.

        `Metric(**values)` reads them.
        """
        return {name: value for name, value in asdict(self).items() if value or name == "label"}


@dataclass(frozen=True)
class Samples:
    """The completions of one stage, everything as [prompt][sample].

    tokens: ids, end-of-sequence included. finished: the completion ended by itself, before the largest number
    of tokens. log_ratios: log π(y | x) − log π'(y | x) in nats, where π is the stage and π' is the stage it
    is compared with. They are empty where the completions were not drawn from π itself (another temperature
    than 1, or something cut off), because their mean is then no divergence.
    """

    prompts: Sequence[Text]
    completions: Sequence[Sequence[Text]]
    tokens: Sequence[Sequence[Sequence[int]]]
    finished: Sequence[Sequence[bool]]
    log_ratios: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Measure:
    """A registered measure: what computes one number per prompt, and the number's label and unit.

    plugin: the name of the plugin that registered it, for messages.
    """

    name: str
    call: Callable[[Samples], Sequence[Any]]
    metric: Metric
    plugin: str = ""
