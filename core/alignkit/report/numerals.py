"""Writes numbers and durations for people."""

from __future__ import annotations

import math


def number_label(value: float) -> str:
    """Write a number with three significant digits.

    A whole number is written with all its digits. An exponent stands only where the number is very large or
    very small.
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size == round(size) and size < 1e6:
        return f"{value:,.0f}"
    if size >= 1e6 or size < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(size)))}f}"


def duration(seconds: float) -> str:
    """Write a duration with its two largest units, such as “3 min 20 s”; at least 1 s."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(1, whole)} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
