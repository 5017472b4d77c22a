"""Finds a sampler by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignkit.errors import UserError, named, raised_at
from alignkit.sampler import Sampler, Weights

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
    try:
        sampler = cls(roles, weights)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"it cannot be made: {type(error).__name__}: {error} ({raised_at(error, cls)})",
            where=named("sampler", name, plugin),
            hint="Fix the plugin that registers it, or choose another sampler.",
        ) from error
    sampler.plugin = plugin
    return sampler


def find_sampler(registry: Registry, name: str, where: str | None = None) -> type[Sampler]:
    """Return the class registered as `name`.

    Raises UserError, at the key path `where`, where there is no such sampler or it cannot be used here.
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
    missing = cls.missing()
    if missing is not None:
        usable = sorted(other for other, found in registry.samplers.items.items() if found.missing() is None)
        raise UserError(
            f"the sampler {name!r} cannot be used here: {missing}",
            where=where,
            hint=f"Usable here: {', '.join(usable)}.",
        )
    return cls
