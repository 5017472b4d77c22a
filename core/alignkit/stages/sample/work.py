"""`sample`: writes completions for the prompts of some data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignkit import recipe
from alignkit.example import Example
from alignkit.objective import Prompts
from alignkit.run.files import write_text
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.plan import PlannedStage
from alignkit.stages.workshop import SAMPLES, Workshop


def run_sample(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Write `samples.jsonl`: each prompt of the data with its sampled completions, whether each ended by
    itself, and the data's columns.
    """
    stage = planned.stage
    assert isinstance(stage, recipe.Sample)
    dataset = shop.load(stage.on, Prompts, stage.max_length, stage.max_tokens)
    with shop.roles() as roles:
        roles.add("policy", trainable=False, start=shop.adapter(stage.sample))
        sampler = make_sampler(shop.registry, stage.sampler, roles, stage.weights)
        drawn = sampler.sample(
            "policy",
            [group.prompt for group in dataset.groups],
            shop.sampling(stage, stage.per_prompt, stage.batch_size),
            progress=lambda done, total: shop.display.advance("sample", done, total, {}),
        )
    examples, _ = shop.written(dataset.examples, dataset.groups, drawn)
    write_text(
        folder / SAMPLES,
        "".join(json.dumps(line(example), ensure_ascii=False, default=str) + "\n" for example in examples),
    )
    count = len(drawn) * stage.per_prompt
    finished = sum(sample.finished for samples in drawn for sample in samples)
    shop.display.note(
        f"{count} completions of {len(drawn)} prompts; {finished / count:.0%} end with end-of-sequence"
    )
    return {"prompts": len(drawn), "completions": count, "finished": finished / count}


def line(example: Example, **more: Any) -> dict[str, Any]:
    """An example with several completions as a row of the layout `prompt, completions`, its other columns
    beside them.
    """
    finished = (
        {"finished": [bool(value) for value in example.columns["finished"]]}
        if "finished" in example.columns
        else {}
    )
    return {
        **example.extra,
        "prompt": example.prompt,
        "completions": list(example.completions),
        **finished,
        **more,
    }
