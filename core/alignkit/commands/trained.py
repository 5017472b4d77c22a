"""`sample` and `export`: what is done with a trained stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Plugins, StageArgument
from alignkit.errors import UserError
from alignkit.sampler import LEAST_TEMPERATURE, Sampling

if TYPE_CHECKING:
    from alignkit.chat import Chat


def sample(
    stage: StageArgument,
    prompt: Annotated[str | None, typer.Option(help="Answer this one prompt; without it, chat.")] = None,
    best_of: Annotated[
        int | None, typer.Option(min=1, help="Draw so many answers, give the one with the highest --reward.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="A finished reward-model stage (RUN/STAGE), or a registered reward.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=100, help="0 takes the likeliest token.")] = 0.7,
    top_p: Annotated[float, typer.Option(min=0.01, max=1)] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help="Of the likeliest tokens only so many; 0: all.")] = 0,
    min_p: Annotated[
        float,
        typer.Option(min=0, max=1, help="Only tokens at least so many times as likely as the likeliest."),
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plugin: Plugins = None,
) -> None:
    """Chat with a trained policy; with --best-of and --reward it gives the best of several answers."""
    if (best_of is None) != (reward is None):
        given, missing = ("--reward", "--best-of") if best_of is None else ("--best-of", "--reward")
        raise UserError(
            f"{given} needs {missing} too", hint="Best of 16, say: --best-of 16 --reward RUN/REWARD-STAGE"
        )
    if best_of is not None and best_of > 1 and temperature == 0:
        raise UserError(
            "at temperature 0 all answers are the same, so there is none to choose",
            where="--best-of",
            hint="Raise --temperature.",
        )
    if 0 < temperature < LEAST_TEMPERATURE:
        raise UserError(
            f"found {temperature:g}, expected 0 or at least {LEAST_TEMPERATURE:g}", where="--temperature"
        )
    from alignkit.chat import Chat

    settings = Sampling(best_of or 1, temperature, top_p, top_k, min_p, max_tokens=max_tokens, seed=seed)
    chat = Chat(stage, settings, reward=reward, plugins=plugin)
    if prompt is not None:
        typer.echo(_answer(chat, prompt))
        return
    typer.echo("An empty line, or the end of the input, ends the chat.", err=True)
    while question := _question():
        typer.echo(f"model: {_answer(chat, question)}")


def _question() -> str:
    """What the user types; nothing at the end of the input."""
    try:
        return input("you: ")
    except EOFError:
        return ""


def _answer(chat: Chat, question: str) -> str:
    """The answer's text; what the reward thought of it and of the others goes to stderr."""
    answer = chat.answer(question)
    known = [score for score in answer.scores if score is not None]
    if answer.scores and not known:
        typer.echo(
            f"best of {len(answer.scores)}: the reward has no opinion of any of them; this is the first",
            err=True,
        )
    elif known:
        left_out = (
            f", without an opinion of {len(answer.scores) - len(known)}"
            if len(known) < len(answer.scores)
            else ""
        )
        typer.echo(
            f"best of {len(answer.scores)}: score {max(known):.4g}, mean "
            f"{sum(known) / len(known):.4g}{left_out}",
            err=True,
        )
    return answer.text


def export(
    stage: StageArgument,
    to: Annotated[Path, typer.Option("--to", help="The folder to write; must not exist.")],
    merged: Annotated[
        bool,
        typer.Option(
            "--merged", help="Merge the adapter into the base: a model that plain transformers loads."
        ),
    ] = False,
) -> None:
    """Copy a stage's adapter out of its run, or write the merged model."""
    from alignkit.models.export import export_adapter, export_merged

    (export_merged if merged else export_adapter)(stage, to)
    typer.echo(f"Written: {to}")
