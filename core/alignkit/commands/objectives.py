"""The command `objectives`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Plugins
from alignkit.errors import UserError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from alignkit.registry import Shelf


def objectives(
    name: Annotated[
        str | None, typer.Argument(help="Show what has this name, with its options; without it, list all.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List the objectives, the optimizers and the observers, or show one of them with its options."""
    from alignkit.registry import Registry

    registry = Registry(plugin)
    shelves = (registry.objectives, registry.optimizers, registry.observers)
    if name is not None:
        _show(name, _find(name, shelves))
        return
    width = max((len(known) for shelf in shelves for known in shelf.items), default=0)
    for number, shelf in enumerate(shelves):
        if number and shelf.items:
            typer.echo(f"\n{shelf.kind.capitalize()}s:")
        for known, cls in sorted(shelf.items.items()):
            summary = _text(cls).partition("\n")[0]
            typer.echo(f"{known:<{width}}  {summary}  ({shelf.owners[known].source})")


def _find(name: str, shelves: tuple[Shelf, ...]) -> type[BaseModel]:
    """Return what is registered as `name`. Raises UserError, with the nearest name, where nothing is."""
    for shelf in shelves:
        if name in shelf.items:
            return shelf.items[name]
    known = [known for shelf in shelves for known in shelf.items]
    kinds = " and no ".join(shelf.kind for shelf in shelves)
    raise UserError(f"no {kinds} is registered as {name!r}", hint=nearest(name, known))


def _show(name: str, cls: type[BaseModel]) -> None:
    from alignkit.objective import Objective

    typer.echo(f"{name}: {_text(cls)}\n")
    if issubclass(cls, Objective):
        typer.echo(f"  data    {cls.data.__name__}")
        for declaration in ("trains", "reads"):
            roles = getattr(cls, declaration)
            told = "an option decides" if isinstance(roles, property) else ", ".join(sorted(roles)) or "none"
            typer.echo(f"  {declaration:<6}  {told}")
    for option, info in cls.model_fields.items():
        typer.echo(f"  {option}: {_field(info)}")


def _field(info: FieldInfo) -> str:
    """Write an option's type, default, bounds and description."""
    from alignkit.recipe.wording import bounds_in_words, default_in_words, type_in_words

    default, bounds = default_in_words(info), bounds_in_words(info)
    parts = [
        type_in_words(info.annotation),
        f" = {default}" if default else "",
        f" ({bounds})" if bounds else "",
        f"  {info.description}" if info.description else "",
    ]
    return "".join(parts)


def _text(cls: type[BaseModel]) -> str:
    return (cls.__doc__ or "").strip()
