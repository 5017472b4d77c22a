"""Calling a measure that a plugin registered, and checking its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alignkit.errors import UserError
from alignkit.evaluation.samples import Samples
from alignkit.sampling.labelling import finite

HINT = "A measure returns one finite number for each prompt, or None where it has none to give."


def measure(call: Callable[[Samples], Sequence[Any]], name: str, samples: Samples) -> list[float | None]:
    """What `call`, registered as `name`, gives each prompt. Raises UserError where it fails or answers
    anything but finite numbers.
    """
    where = f"measure {name!r}"
    try:
        answer = list(call(samples))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"it failed: {type(error).__name__}: {error}",
            where=where,
            hint="Mend the plugin that registers it.",
        ) from error
    if len(answer) != len(samples.prompts):
        raise UserError(
            f"found {len(answer)} numbers for {len(samples.prompts)} prompts", where=where, hint=HINT
        )
    return [
        finite(value, "value", prompt, where, HINT)
        for value, prompt in zip(answer, samples.prompts, strict=True)
    ]
