"""Finds a sampler by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignkit.errors import UserError, named, plugin_errors
from alignkit.sampler import Sampler, Weights
from alignkit.sampling.checking import FIX

if TYPE_CHECKING:
    from alignkit.models.roles import Roles
    from alignkit.registry import Registry


def make_sampler(
    registry: Registry, name: str, roles: Roles, weights: Weights = "auto", *, where: str | None = None
) -> Sampler:
    """Return the sampler registered as `name`, made for `roles`; see `find_sampler`.

    Raises UserError where its class fails.
    """
    cls, plugin = find_sampler(registry, name, where), registry.samplers.owners[name].name
    with plugin_errors("it cannot be made", cls, where=named("sampler", name, plugin), hint=FIX):
        sampler = cls(roles, weights)
    sampler.plugin = plugin
    return sampler


def find_sampler(registry: Registry, name: str, where: str | None = None) -> type[Sampler]:
    """Return the class registered as `name`.

    Raises UserError, at the key path `where`, where there is no such sampler or it cannot be used here; and
    where its `missing` fails.
    """
    if not registry.samplers.items:
        raise UserError(
            f"no sampler is registered as {name!r}, nor any other: alignkit's own plugins are not installed "
            "as "
            "this version lists them",
            where=where,
            hint="Install alignkit again: pip install -e .",
        )
    cls = registry.samplers.get(name, where)
    missing = _missing(registry, name)
    if missing is not None:
        usable = sorted(other for other in registry.samplers.items if _missing(registry, other) is None)
        raise UserError(
            f"the sampler {name!r} cannot be used here: {missing}",
            where=where,
            hint=f"Usable here: {', '.join(usable)}.",
        )
    return cls


def _missing(registry: Registry, name: str) -> str | None:
    """Return what the sampler says that it needs and does not find."""
    cls, where = registry.samplers.items[name], named("sampler", name, registry.samplers.owners[name].name)
    with plugin_errors("`missing` failed", cls, where=where, hint=FIX):
        return cls.missing()
