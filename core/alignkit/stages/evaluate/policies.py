"""Does `evaluate` for policies: draws samples of each on held-out prompts, and measures them side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from alignkit.data.checking import select
from alignkit.data.loading import Dataset
from alignkit.example import Example, Group, text_of
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.export import DTYPE
from alignkit.models.roles import Roles
from alignkit.objective import Prompts
from alignkit.progress import Progress, counting
from alignkit.recipe import Evaluate, Target
from alignkit.rewards.best_of_n import best_of_divergence, best_places
from alignkit.rewards.engine import make_engines
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scoring import Scorer
from alignkit.run.files import write_text
from alignkit.run.folder import StageFolder
from alignkit.sampler import Drawn, Sampler
from alignkit.sampling.checking import draw
from alignkit.sampling.decoding import decode
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.context import RunContext
from alignkit.stages.evaluate.plan import PlannedEvaluation
from alignkit.stages.evaluate.rows import Contestant
from alignkit.stages.evaluate.served import MERGED, ServedModels
from alignkit.stages.evaluate.table import Record, make_table, means_of, measures_of
from alignkit.stages.evaluate.telling import answers, verdicts
from alignkit.stages.quantization_cost import tell_quantization_cost


def work_on_evaluation(stage: PlannedEvaluation, context: RunContext, folder: StageFolder) -> dict[str, Any]:
    """Write `evaluation.json`, and `samples.jsonl` with the completions side by side.

    Return the means for the summary.
    """
    wanted = stage.settings
    dataset = context.data.load(wanted.on, Prompts, wanted.max_length, wanted.max_tokens)
    if not wanted.whole:
        context.display.note(
            "these samples do not follow the policy's own distribution (temperature, top_k, top_p, min_p or "
            "min_tokens is set), so no divergence can be estimated from them"
        )
    tell_quantization_cost(context, folder, dataset.groups)
    served = ServedModels(context, folder) if wanted.as_ == MERGED else None
    if served is not None:
        context.display.note(f"the targets are measured as they are served: merged, in {DTYPE}")
    records = _records(stage, context, dataset, folder, served)
    if served is not None:
        served.close()
    lines = [json.dumps(line, ensure_ascii=False) for line in _side_by_side(stage, dataset.examples, records)]
    write_text(folder.samples, "".join(f"{line}\n" for line in lines))
    table = make_table(stage, [example.prompt for example in dataset.examples], records, context)
    found = {
        "kind": "policies",
        "as": wanted.as_,
        "on": wanted.on,
        "against": wanted.against,
        "prompts": len(dataset),
        "per_prompt": wanted.per_prompt,
        "rewards": [reward.name for reward in stage.rewards],
        "measures": {name: metric.to_dict() for name, metric in measures_of(stage, context).items()},
        **table.to_dict(),
    }
    write_text(folder.evaluation, json.dumps(found, indent=2) + "\n")
    context.display.table(table.labelled(stage.rows))
    for line in (*verdicts(stage, table), *answers(stage, dataset.examples, records)):
        context.display.note(line)
    return {"targets": means_of(table.targets)}


def _records(
    stage: PlannedEvaluation,
    context: RunContext,
    dataset: Dataset,
    folder: StageFolder,
    served: ServedModels | None,
) -> dict[str, Record]:
    """Draw samples of each contestant; a killed evaluation goes on with those that are not done."""
    contestants = [contestant for row in stage.rows for contestant in row.contestants]
    records = {}
    for number, contestant in enumerate(contestants):
        context.display.advance("evaluate", number, len(contestants), {})
        file = folder.target(number)
        if not file.is_file():
            record = _sample(contestant, stage, context, dataset, served)
            write_text(file, json.dumps(record, ensure_ascii=False) + "\n")
        records[contestant.name] = json.loads(file.read_text(encoding="utf-8"))
    context.display.advance("evaluate", len(contestants), len(contestants), {})
    return records


def _sample(
    contestant: Contestant,
    stage: PlannedEvaluation,
    context: RunContext,
    dataset: Dataset,
    served: ServedModels | None,
) -> Record:
    """Return a contestant's completions of every prompt, their scores and log-ratios, as plain values.

    Rewards score them with the roles as they were trained, whatever wrote them.
    """
    wanted, run, prompts = stage.settings, context.run, dataset.groups
    target, against = contestant.target, contestant.against
    with context.base.roles(context.seed) as roles:
        roles.add("policy", trainable=False, start=run.start(target.stage))
        roles.add("reference", trainable=False, start=run.start(against))
        models = RewardModels(roles, run, forward_budget())
        sampler = make_sampler(context.registry, wanted.sampler, roles, wanted.weights)
        progress = partial(counting, context.display)
        drawn = _draw(target, wanted, sampler, context, [group.prompt for group in prompts], served)
        examples, groups = decode(context.base.base, dataset.examples, prompts, drawn)
        moved = [0.0] * len(drawn)
        chosen_by = stage.best[contestant.name]
        engines = make_engines(
            (*chosen_by, *stage.rewards),
            roles,
            run,
            sampler,
            seed=context.seed,
            budget=forward_budget(),
            progress=progress,
        )
        if target.best_of > 1:
            chooser = Scorer(chosen_by, models=models, engines=engines, progress=progress)
            examples, groups, moved = _choose(chooser, target.best_of, examples, groups)
        scorer = Scorer(stage.rewards, models=models, engines=engines, progress=progress)
        scores = scorer(examples, groups).each
        ratios = [[] for _ in groups]
        if wanted.whole:
            ratios = _log_ratios(contestant, roles, groups, served, progress("log-probabilities"))
    return {
        "texts": [[text_of(completion) for completion in example.completions] for example in examples],
        "tokens": [list(group.completions) for group in groups],
        "finished": [[bool(value) for value in group.columns["finished"]] for group in groups],
        "log_ratios": [[r + more for r in of_prompt] for of_prompt, more in zip(ratios, moved, strict=True)],
        "scores": scores,
    }


def _draw(
    target: Target,
    wanted: Evaluate,
    sampler: Sampler,
    context: RunContext,
    prompts: list[list[int]],
    served: ServedModels | None,
) -> list[list[Drawn]]:
    """Return a target's completions of every prompt: by `sampler`, or by its model as it is served."""
    batch_size = max(1, wanted.batch_size // target.best_of)
    settings = wanted.sampling(wanted.per_prompt * target.best_of, context.seed, batch_size)
    progress = counting(context.display, f"sampling {target.name}")
    if served is None:
        return draw(sampler, "policy", prompts, settings, progress=progress)
    with served.policy(target.stage) as roles:
        merged = make_sampler(context.registry, wanted.sampler, roles, wanted.weights)
        return draw(merged, "policy", prompts, settings, progress=progress)


def _choose(
    chooser: Scorer, n: int, examples: Sequence[Example], groups: Sequence[Group]
) -> tuple[list[Example], list[Group], list[float]]:
    """Keep the best of each n samples, as text and as tokens.

    Return them, and for each prompt the KL divergence of the choice from the policy's own samples.
    """
    totals = chooser(examples, groups).total
    places = [best_places(scores, n) for scores in totals]
    return (
        [select(example, kept) for example, kept in zip(examples, places, strict=True)],
        [group.select(kept) for group, kept in zip(groups, places, strict=True)],
        [best_of_divergence(scores, n) for scores in totals],
    )


def _log_ratios(
    contestant: Contestant,
    roles: Roles,
    groups: Sequence[Group],
    served: ServedModels | None,
    progress: Progress,
) -> list[list[float]]:
    """Return log π(y | x) − log π'(y | x) of each completion, as [prompt][completion].

    π is the policy and π' the reference; where both are the same stage, the ratio is 0.
    """
    policy, against = contestant.target.stage, contestant.against
    if policy == against:
        return [[0.0] * len(group.completions) for group in groups]
    if served is not None:
        return served.log_ratios(policy, against, groups, progress)
    names = ["policy", "reference"]
    found = compute_signals(roles, groups, names, forward_budget(), progress=progress)
    ratios = (found["logps"] - found["reference_logps"]).sum(-1)  # (N,)
    return [part.tolist() for part in ratios.split([len(group.completions) for group in groups])]


def _side_by_side(
    stage: PlannedEvaluation, examples: Sequence[Example], records: dict[str, Record]
) -> list[dict[str, Any]]:
    """Return one line per prompt: the completions of each target, and their scores.

    Of a target with seeds they are those of the first seed.
    """
    first = {row.name: records[row.contestants[0].name] for row in stage.rows}
    return [
        {
            "prompt": example.prompt,
            "completions": {name: record["texts"][place] for name, record in first.items()},
            "scores": {
                name: {reward: values[place] for reward, values in record["scores"].items()}
                for name, record in first.items()
            },
        }
        for place, example in enumerate(examples)
    ]
