"""The command `new-plugin`. The file that it writes lies beside this one: `new_method.py`."""

from __future__ import annotations

import re
import shlex
from keyword import iskeyword
from pathlib import Path
from typing import Annotated

import typer

from alignkit.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 40
TEST = '''"""Checks NewMethod with the conformance suite, and with numbers by hand."""

from alignkit.testing import check_objective
from alignkit_new_method import NewMethod


def test_it_conforms():
    """Check the default options."""
    check_objective(NewMethod())


def test_it_conforms_with_another_option():
    """Check options that the code treats differently, with one test for each of them."""
    check_objective(NewMethod(beta=0.5))


# The suite does not know the paper. Add a test that derives the loss of two short completions from its
# equation.
'''
NEXT = """
1. Test it:     pytest {test}
2. Check it:    alignkit check RECIPE --plugin {plugin} 'stages.STAGE.train={name}'
3. Train it:    alignkit run RECIPE --plugin {plugin} 'stages.STAGE.train={{{name}: {{beta: 0.2}}}}'

RECIPE is a recipe whose stage STAGE trains on preferences. To publish the method, put this into the
pyproject.toml of your package; `pip install` then registers it:

[project.entry-points.alignkit]
{name} = "{module}"
"""


def new_plugin(
    name: Annotated[str, typer.Argument(help="What recipes will call the objective, such as my-method.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to write into.")] = Path(),
) -> None:
    """Write alignkit_NAME.py, a plugin with an objective to change, and its test."""
    from alignkit.run.files import disk_errors

    names = _spelled(name)
    module = f"alignkit_{names['new_method']}"
    template = Path(__file__).with_name("new_method.py").read_text(encoding="utf-8")
    texts = {to / f"{module}.py": template, to / f"test_{module}.py": TEST}
    for path in texts:
        if path.exists():
            raise UserError(
                f"{str(path)!r} exists", hint="Choose another name or --to; nothing is overwritten."
            )
    with disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(_renamed(text, names), encoding="utf-8")
    plugin, test = texts
    typer.echo(f"Written: {plugin} and {test}")
    typed = {"plugin": shlex.quote(str(plugin)), "test": shlex.quote(str(test))}
    typer.echo(NEXT.format(**typed, name=names["new-method"], module=module), nl=False)


def _spelled(name: str) -> dict[str, str]:
    """Return how recipes, modules and classes spell the name, by what the template has in its place.

    Raises UserError for a name that cannot be spelled so, or is taken.
    """
    from alignkit import __all__ as taken
    from alignkit.registry import Registry

    if not NAME.fullmatch(name) or len(name) > LONGEST:
        hint = f"Use at most {LONGEST} small letters, digits and hyphens, and begin with a letter: my-method."
        raise UserError(f"{name!r} cannot be a plugin's name", where="NAME", hint=hint)
    words = re.split("[-_]", name)
    cls = "".join(word.capitalize() for word in words)
    if iskeyword(cls) or cls in taken:
        raise UserError(
            f"its class would be called {cls}, which has a meaning already",
            where="NAME",
            hint="Choose a longer name.",
        )
    objectives = Registry().objectives
    if (recipe_name := "-".join(words)) in objectives.items:
        source = objectives.owners[recipe_name].source
        raise UserError(
            f"an objective {recipe_name!r} is registered already, by {source}",
            where="NAME",
            hint="Choose another name.",
        )
    return {"new-method": recipe_name, "new_method": "_".join(words), "NewMethod": cls}


def _renamed(text: str, names: dict[str, str]) -> str:
    """Replace all of them at once: a name may itself hold what another stands for."""
    return re.sub("|".join(names), lambda found: names[found.group()], text)
