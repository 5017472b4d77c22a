"""Does `sample`: writes completions for the prompts of some data."""

from __future__ import annotations

import json
from typing import Any

from alignkit.objective import Prompts
from alignkit.progress import counting
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.sampling.checking import draw
from alignkit.sampling.decoding import decode
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.context import RunContext
from alignkit.stages.quantization_cost import tell_quantization_cost
from alignkit.stages.rows import as_row
from alignkit.stages.sample.plan import PlannedSample


def work_on_sample(stage: PlannedSample, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `samples.jsonl`: each prompt with its completions, and whether each of them ended by itself."""
    wanted, display = stage.settings, context.display
    dataset = context.data.load(wanted.on, Prompts, wanted.max_length, wanted.max_tokens)
    tell_quantization_cost(context, folder, dataset.groups)
    with context.base.roles(context.seed) as roles:
        roles.add("policy", trainable=False, start=context.run.start(wanted.sample))
        sampler = make_sampler(context.registry, wanted.sampler, roles, wanted.weights)
        drawn = draw(
            sampler,
            "policy",
            [group.prompt for group in dataset.groups],
            wanted.sampling(wanted.per_prompt, context.seed, wanted.batch_size),
            progress=counting(display, "sampling"),
        )
    examples, _ = decode(context.base.base, dataset.examples, dataset.groups, drawn)
    lines = [json.dumps(as_row(example), ensure_ascii=False, default=str) for example in examples]
    write_text(folder.samples, "".join(f"{line}\n" for line in lines))
    count = len(drawn) * wanted.per_prompt
    finished = sum(sample.finished for samples in drawn for sample in samples)
    display.note(
        f"{count} completions of {len(drawn)} prompts; {finished / count:.0%} end with end-of-sequence"
    )
    return {"prompts": len(drawn), "completions": count, "finished": finished / count}
