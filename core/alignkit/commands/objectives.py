"""The command `objectives`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Plugins

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from alignkit.objective import Objective


def objectives(
    name: Annotated[
        str | None, typer.Argument(help="Show this objective with its options; without it, list all.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List the objectives, or show one of them with its options and defaults."""
    from alignkit.registry import Registry

    registry = Registry(plugin)
    if name is not None:
        _show(name, registry.objectives.get(name))
        return
    width = max((len(known) for known in registry.objectives.items), default=0)
    for known, cls in sorted(registry.objectives.items.items()):
        typer.echo(f"{known:<{width}}  {_text(cls).partition(chr(10))[0]}")


def _show(name: str, cls: type[Objective]) -> None:
    typer.echo(f"{name}: {_text(cls)}\n")
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


def _text(cls: type[Objective]) -> str:
    return (cls.__doc__ or "").strip()
