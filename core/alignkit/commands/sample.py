"""The command `sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Plugins, StageArgument
from alignkit.errors import UserError
from alignkit.sampler import LEAST_TEMPERATURE, Sampling

if TYPE_CHECKING:
    from alignkit.chat import Answer, Chat


def sample(
    stage: StageArgument,
    prompt: Annotated[str | None, typer.Option(help="Answer this one prompt; without it, chat.")] = None,
    best_of: Annotated[
        int | None,
        typer.Option(min=1, help="Draw this many answers, and give the one with the highest --reward."),
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="A finished reward-model stage (RUN/STAGE), or a registered reward.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=100, help="0 takes the most likely token.")] = 0.7,
    top_p: Annotated[
        float,
        typer.Option(
            min=0.01, max=1, help="Sample from the fewest tokens whose probabilities add up to this."
        ),
    ] = 0.95,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from the k most likely tokens; 0 means all.")] = 0,
    min_p: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Sample from tokens that are at least this many times as likely as the most likely one.",
        ),
    ] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same answers.")] = 0,
    plugin: Plugins = None,
) -> None:
    """Chat with a trained policy; with --best-of and --reward it gives the best of several answers."""
    _require_sense(best_of, reward, temperature)
    from alignkit.chat import Chat

    settings = Sampling(best_of or 1, temperature, top_p, top_k, min_p, max_tokens=max_tokens, seed=seed)
    chat = Chat(stage, settings, reward=reward, plugins=plugin)
    if prompt is not None:
        typer.echo(_reply(chat, prompt))
        return
    typer.echo("An empty line, or the end of the input, ends the chat.", err=True)
    while question := _question():
        typer.echo(f"model: {_reply(chat, question)}")


def _require_sense(best_of: int | None, reward: str | None, temperature: float) -> None:
    """Refuse options that contradict each other."""
    if (best_of is None) != (reward is None):
        given, missing = ("--reward", "--best-of") if best_of is None else ("--best-of", "--reward")
        raise UserError(
            f"{given} needs {missing} too", hint="For example: --best-of 16 --reward RUN/REWARD-STAGE"
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


def _question() -> str:
    """Return what the user types; nothing at the end of the input."""
    try:
        return input("you: ")
    except EOFError:
        return ""


def _reply(chat: Chat, question: str) -> str:
    """Return the answer's text; what the reward says of all answers goes to stderr."""
    answer = chat.answer(question)
    if answer.scores:
        typer.echo(_told(answer), err=True)
    return answer.text


def _told(answer: Answer) -> str:
    """Say how the chosen answer compares with the others."""
    count, known = len(answer.scores), [score for score in answer.scores if score is not None]
    if not known:
        return f"best of {count}: the reward has no opinion of any of them; this is the first"
    left_out = f", without a score for {count - len(known)}" if len(known) < count else ""
    return f"best of {count}: score {max(known):.4g}, mean {sum(known) / len(known):.4g}{left_out}"
