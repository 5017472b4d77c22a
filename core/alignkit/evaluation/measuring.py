"""Calls a registered measure and checks its answer."""

from __future__ import annotations

from alignkit.answers import ask
from alignkit.errors import named
from alignkit.measure import Measure, Samples


def measure(registered: Measure, samples: Samples) -> list[float | None]:
    """Return what a measure gives each prompt, None where it has no number to give.

    Raises UserError where the measure fails or answers anything but one finite number or None per prompt.
    """
    return ask(
        lambda: registered.call(samples),
        samples.prompts,
        what="number",
        items="prompts",
        where=named("measure", registered.name, registered.plugin),
        plugin=registered.call,
    )
