"""`label`: ranks completions by a reward, with or without the noise of a human choice."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from alignkit import recipe
from alignkit.data.checking import select
from alignkit.data.loading import with_same_extra
from alignkit.data.messages import is_blank
from alignkit.data.reading import read_examples
from alignkit.data.report import Report, Tally, enforce
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group
from alignkit.rewards.scoring import Scorer
from alignkit.run.files import write_text
from alignkit.stages.label.ranking import rank
from alignkit.stages.plan import PlannedStage
from alignkit.stages.sample.work import line
from alignkit.stages.workshop import RANKED, Workshop

BUDGET = 4096  # tokens a reward model scores at once


def run_label(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Write `ranked.jsonl`: the completions with the reward's scores, ranked by it, with the noise of a
    Plackett–Luce choice if asked.
    """
    stage = planned.stage
    assert isinstance(stage, recipe.Label)
    examples, groups, report, blank = _read(shop, stage)
    with shop.roles() if any(reward.call is None for reward in planned.rewards) else nullcontext() as roles:
        scores = Scorer(planned.rewards, roles, shop.folder, BUDGET)(examples, groups)
    generator = np.random.default_rng(shop.seed)
    lines, kept, abstained = [], [], 0
    for example, totals in zip(examples, scores.total, strict=True):
        judged = [k for k, total in enumerate(totals) if total is not None]
        abstained += len(totals) - len(judged)
        if judged:
            values = [total for total in totals if total is not None]
            kept += values
            lines.append(
                line(select(example, judged), ranks=rank(values, stage.noise, generator), rewards=values)
            )
    if not lines:
        raise UserError(
            "the reward abstained from every completion",
            where=f"stages.{planned.name}",
            hint="Nothing is left to learn from.",
        )
    write_text(
        folder / RANKED, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in lines)
    )
    mean, names = float(np.mean(kept)), " + ".join(reward.name for reward in planned.rewards)
    dropped = sum(reason.count for reason in report.dropped.values())
    left_out = (
        f"; left out: {dropped} bad rows, {blank} empty, {abstained} without an opinion"
        if dropped or blank or abstained
        else ""
    )
    shop.display.note(
        f"{len(kept)} completions of {len(lines)} prompts ranked by {names}, mean {mean:.3f}{left_out}"
    )
    counts = {
        "prompts": len(lines),
        "completions": len(kept),
        "dropped": dropped,
        "abstained": abstained,
        "empty": blank,
    }
    return {**counts, "mean_reward": mean}


def _read(shop: Workshop, stage: recipe.Label) -> tuple[list[Example], list[Group], Report, int]:
    """The completions to rank, as text and as tokens, what became of the rows, and how many completions were
    empty.

    Stops after the data's `limit` of usable rows. Raises UserError for bad rows under `on_bad: error`, and
    where nothing is to be ranked.
    """
    spec, where, tokenization = (
        shop.data(stage.label),
        f"data.{stage.label}",
        shop.tokenization(stage.max_length),
    )
    examples, groups, blank, tally = [], [], 0, Tally(stage.label)
    for place, _, example in read_examples(spec, shop.registry.formats.items, where):
        tally.rows += 1
        try:
            if isinstance(example, BadExample):
                raise example
            said = [k for k, completion in enumerate(example.completions) if not is_blank(completion)]
            blank += len(example.completions) - len(said)
            if said:
                example = select(example, said)
                groups.append(tokenization.encode(example))
                examples.append(example)
                tally.keep(groups[-1])
        except BadExample as reason:
            tally.drop(str(reason), place)
        if spec.limit and len(examples) == spec.limit:
            break
    report = tally.report()
    if not examples and not report.dropped:
        hint = "`label` takes a sample stage, or data with completions."
        raise UserError("there is no completion to rank", where=where, hint=hint)
    enforce(report, spec.on_bad, where)
    for reason in report.dropped_lines():
        shop.display.note(f"{stage.label}: {reason}")
    return with_same_extra(examples), groups, report, blank
