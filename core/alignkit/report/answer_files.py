"""Finds what a stage's policy wrote: evaluated, sampled, ranked, learned from, or previewed in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alignkit.report.parsing import count_rows, read_json, read_rows
from alignkit.report.records import Answers, AnswerSet
from alignkit.run.folder import ROLLOUTS, StageFolder

MOST_PROMPTS, MOST_RANKED, MOST_MOMENTS = 8, 4, 8
"""Prompts that are shown of an evaluation and of other stages, and moments of a training."""
RANKED = "best", "worst"


def read_answers(folder: StageFolder, verb: str) -> tuple[AnswerSet, ...]:
    """Return what there is to show of a stage. Raises UserError where a file cannot be read."""
    readers = {"evaluate": _evaluated, "sample": _sampled, "label": _ranked, "train": _trained}
    return tuple(shown for shown in readers[verb](folder) if shown.answers)


def _evaluated(folder: StageFolder) -> list[AnswerSet]:
    answers = read_rows(folder.samples, _side_by_side, MOST_PROMPTS)
    return [AnswerSet(_title(folder.name, len(answers), folder.samples), answers)] if answers else []


def _side_by_side(raw: Mapping[str, Any]) -> Answers:
    completions = {target: tuple(map(written, texts)) for target, texts in raw["completions"].items()}
    scores = {
        target: {reward: tuple(values) for reward, values in rewards.items()}
        for target, rewards in (raw.get("scores") or {}).items()
    }
    return Answers(written(raw["prompt"]), completions, scores)


def _sampled(folder: StageFolder) -> list[AnswerSet]:
    parse = partial(_drawn, folder.name)
    answers = read_rows(folder.samples, parse, MOST_RANKED)
    return [AnswerSet(_title(folder.name, len(answers), folder.samples), answers)] if answers else []


def _drawn(name: str, raw: Mapping[str, Any]) -> Answers:
    return Answers(written(raw["prompt"]), {name: tuple(map(written, raw["completions"]))}, {})


def _ranked(folder: StageFolder) -> list[AnswerSet]:
    answers = read_rows(folder.ranked, _best_and_worst, MOST_RANKED)
    title = f"{_title(folder.name, len(answers), folder.ranked)}, by rank" if answers else ""
    return [AnswerSet(title, answers)] if answers else []


def _best_and_worst(raw: Mapping[str, Any]) -> Answers:
    ranks: Sequence[float] = raw["ranks"]
    return _ends(raw, sorted(range(len(ranks)), key=ranks.__getitem__), {"reward": raw.get("rewards")})


def _ends(
    raw: Mapping[str, Any], order: Sequence[int], scores: Mapping[str, Sequence[float | None] | None]
) -> Answers:
    """Return the first and the last of a prompt's completions in an order, with their scores."""
    places = dict(zip(RANKED, (order[0], order[-1]), strict=True))
    return Answers(
        written(raw["prompt"]),
        {name: (written(raw["completions"][place]),) for name, place in places.items()},
        {
            name: {reward: (values[place],) for reward, values in scores.items() if values}
            for name, place in places.items()
        },
    )


def _trained(folder: StageFolder) -> list[AnswerSet]:
    """Return the previews side by side over time, and of the newest rollouts the best and the worst."""
    found = [_previews(folder)]
    for objective in sorted((folder.path / ROLLOUTS).glob("*/")):
        batches = [file for file in sorted(objective.glob("*.jsonl")) if _scores_of(file).is_file()]
        if batches:
            found.append(_rollouts(folder.name, batches[-1]))
    return [shown for shown in found if shown is not None]


def _previews(folder: StageFolder) -> AnswerSet | None:
    lines = read_rows(folder.previews, lambda raw: (raw["step"], written(raw["prompt"]), raw["completions"]))
    steps = sorted({step for step, _, _ in lines})
    if not steps:
        return None
    shown = _spread(steps)
    by_prompt: dict[str, dict[int, tuple[str, ...]]] = {}
    for step, prompt, completions in lines:
        by_prompt.setdefault(prompt, {})[step] = tuple(map(written, completions))
    answers = tuple(
        Answers(prompt, {f"step {step}": texts[step] for step in shown if step in texts}, {})
        for prompt, texts in by_prompt.items()
    )
    return AnswerSet(f"{folder.name}: the same prompts as the training goes on", answers, over_time=True)


def _spread(steps: Sequence[int]) -> list[int]:
    """Return at most `MOST_MOMENTS` of the steps: the first, the newest, and others evenly between."""
    if len(steps) <= MOST_MOMENTS:
        return list(steps)
    last = MOST_MOMENTS - 1
    return [steps[round(place * (len(steps) - 1) / last)] for place in range(MOST_MOMENTS)]


def _rollouts(stage: str, batch: Path) -> AnswerSet:
    """Return the best and the worst completion of the first prompts of a batch that was scored."""
    scores = read_json(_scores_of(batch)) or {}
    rows = read_rows(batch, lambda raw: raw, MOST_RANKED)
    answers = []
    for number, raw in enumerate(rows):
        totals = scores["total"][number]
        known = [place for place, total in enumerate(totals) if total is not None]
        order = sorted(known, key=lambda place: -totals[place])
        if order:
            each = {name: values[number] for name, values in scores["each"].items()}
            answers.append(_ends(raw, order, each))
    title = f"{stage}: the best and the worst of the newest samples that it learned from, batch {batch.stem}"
    return AnswerSet(title, tuple(answers))


def _scores_of(batch: Path) -> Path:
    return batch.with_suffix(".scores.json")


def _title(name: str, shown: int, file: Path) -> str:
    return f"{name}: the first {shown} of {count_rows(file)} prompts"


def written(value: str | Sequence[Mapping[str, str]]) -> str:
    """Write a text for the page.

    A plain text stays as it is. A conversation becomes its messages, each after its role. Of a single message
    only the content is written.
    """
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return value[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in value)
