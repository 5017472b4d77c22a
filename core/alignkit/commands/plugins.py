"""The command `plugins`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignkit.commands.options import Plugins

if TYPE_CHECKING:
    from alignkit.registry import Plugin, Registry


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, plugin: Plugins = None
) -> None:
    """List the plugins and what each of them registers."""
    from alignkit.registry import Registry

    registry = Registry(plugin)
    listing = [_describe(found, registry) for found in registry.plugins]
    if as_json:
        typer.echo(json.dumps(listing, indent=2))
        return
    width = max((len(item["name"]) for item in listing), default=0)
    for item in listing:
        kinds = [f"{kind} {_listed(names, item['not_usable'])}" for kind, names in item["registers"].items()]
        typer.echo(f"{item['name']:<{width}}  {'; '.join(kinds) or 'nothing'}  ({item['source']})")


def _describe(plugin: Plugin, registry: Registry) -> dict[str, Any]:
    """Return what a plugin registers, by kind, and the samplers that cannot be used here with the reason."""
    registered = {
        shelf.kind: sorted(name for name, owner in shelf.owners.items() if owner == plugin)
        for shelf in registry.shelves
    }
    missing = {name: registry.samplers.items[name].missing() for name in registered["sampler"]}
    return {
        "name": plugin.name,
        "source": plugin.source,
        "registers": {kind: names for kind, names in registered.items() if names},
        "not_usable": {name: reason for name, reason in missing.items() if reason is not None},
    }


def _listed(names: list[str], not_usable: Mapping[str, str]) -> str:
    """Write the names, with the reason where one cannot be used here."""
    return ", ".join(
        f"{name} (not usable here: {not_usable[name]})" if name in not_usable else name for name in names
    )
