"""Looks up the optimizer and the observers that a training stage names, and checks its learning rates."""

from __future__ import annotations

from collections.abc import Set

from alignkit.errors import UserError, nearest
from alignkit.observer import Observer
from alignkit.optimizer import Optimizer
from alignkit.recipe import ObserverTerm, OptimizerTerm
from alignkit.recipe.mistakes import validate
from alignkit.registry import Registry
from alignkit.rewards.lookup import require_once


def find_optimizer(terms: tuple[OptimizerTerm, ...], registry: Registry, where: str) -> Optimizer:
    """Make the one optimizer that is named, with its options.

    Raises UserError, at the key path `where`, for a name or an option that does not exist.
    """
    (term,) = terms
    return validate(registry.optimizers.get(term.optimizer, where), term.options, f"{where}.{term.optimizer}")


def find_observers(terms: tuple[ObserverTerm, ...], registry: Registry, where: str) -> tuple[Observer, ...]:
    """Make the observers that are named, with their options; each name stands once."""
    require_once([term.observer for term in terms], where)
    return tuple(
        validate(registry.observers.get(term.observer, where), term.options, f"{where}.{term.observer}")
        for term in terms
    )


def require_rates(rates: float | dict[str, float], trained: Set[str], where: str) -> None:
    """Refuse rates role by role that leave a trained role out, or name a role that is not trained."""
    if not isinstance(rates, dict):
        return
    for role in rates:
        if role not in trained:
            raise UserError(
                f"the stage trains no role {role!r}", where=f"{where}.{role}", hint=nearest(role, trained)
            )
    for role in sorted(trained - rates.keys()):
        raise UserError(
            f"the trained role {role!r} has no learning rate",
            where=where,
            hint=f"Add `{role}: RATE`, or give one number for all roles.",
        )
