"""Ranks a group's completions by their scores, with or without the noise of a human choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol


class Uniform(Protocol):
    """A random generator; those of `random` and of `numpy.random` are one."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


def rank(scores: Sequence[float], noise: float, rng: Uniform) -> list[float]:
    """Return the rank of each of a group's scores; 0 is the best.

    Without noise, equal scores share the better rank. With noise τ > 0, the ranks are a draw of the
    Plackett–Luce model (Plackett, 1975, doi:10.2307/2346567), whose pairs follow P(i before j) = σ((sᵢ − sⱼ)
    / τ). It is the order of sᵢ / τ + gᵢ, where the gᵢ are independent Gumbel variables (Yellott, 1977,
    doi:10.1016/0022-2496(77)90026-8). Raises ValueError for noise below 0.
    """
    if noise < 0:
        raise ValueError(f"noise is a temperature, 0 or more; found {noise}")
    keys = [value / noise + _gumbel(rng) for value in scores] if noise > 0 else list(scores)
    return [float(sum(other > key for other in keys)) for key in keys]


def _gumbel(rng: Uniform) -> float:
    uniform = rng.random() or 2.0**-54  # 0 would be minus infinity
    return -math.log(-math.log1p(-uniform))
