"""`evaluate`: samples of several policies on held-out prompts, or several reward models on held-out pairs,
measured side by side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignkit import recipe
from alignkit.data.loading import Dataset
from alignkit.evaluation.measuring import measure
from alignkit.evaluation.reward_models import judge
from alignkit.evaluation.statistics import best_of_divergence, bootstrap, win_rate
from alignkit.example import Group, Text, text_of
from alignkit.measure import Samples
from alignkit.models.frozen import signals_by_group
from alignkit.models.roles import Roles
from alignkit.objective import Preferences, Prompts
from alignkit.rewards.best_of_n import best_of
from alignkit.rewards.scoring import Scorer
from alignkit.run.files import write_text
from alignkit.sampling.lookup import make_sampler
from alignkit.stages.plan import PlannedStage
from alignkit.stages.workshop import SAMPLES, Workshop

EVALUATION = "evaluation.json"
BUDGET = 4096  # tokens computed at once


def run_evaluate(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Write `evaluation.json`, and for policies `samples.jsonl` with the completions side by side."""
    stage = planned.stage
    assert isinstance(stage, recipe.Evaluate)
    found = _policies(planned, stage, shop, folder) if planned.measures else _reward_models(stage, shop)
    write_text(folder / EVALUATION, json.dumps(found, indent=2) + "\n")
    shop.display.table(found["targets"])
    return {
        "targets": {
            name: {key: value["mean"] for key, value in values.items()}
            for name, values in found["targets"].items()
        }
    }


def _reward_models(stage: recipe.Evaluate, shop: Workshop) -> dict[str, Any]:
    dataset = shop.load(stage.on, Preferences, stage.max_length)
    targets, curves = {}, {}
    for target in stage.evaluate:
        with shop.roles() as roles:
            roles.add("reward", trainable=False, start=shop.adapter(target.stage))
            scores = signals_by_group(roles, dataset.groups, range(len(dataset)), ["reward"], BUDGET)[
                "scores"
            ]
        targets[target.name], curves[target.name] = judge(
            dataset.groups, [scores[i].tolist() for i in range(len(dataset))], shop.seed
        )
    return {"kind": "reward models", "on": stage.on, "targets": targets, "calibration": curves}


def _policies(planned: PlannedStage, stage: recipe.Evaluate, shop: Workshop, folder: Path) -> dict[str, Any]:
    dataset = shop.load(stage.on, Prompts, stage.max_length, stage.max_tokens)
    if not stage.whole:
        shop.display.note(
            "these samples are sharpened, cut off or forbidden an early end: no divergence "
            "can be estimated from them"
        )
    against = recipe.Target(stage=stage.against)
    best = {target.name: rewards for target, rewards in zip(stage.evaluate, planned.best, strict=True)}
    targets = stage.evaluate if against.name in best else (against, *stage.evaluate)
    records = {}
    for number, target in enumerate(targets):
        # a killed evaluation goes on with the targets it has not done
        file = folder / "targets" / f"{number}.json"
        if not file.is_file():
            record = _sample_target(
                target, replace(planned, best=(best.get(target.name, ()),)), stage, shop, dataset
            )
            write_text(file, json.dumps(record, ensure_ascii=False) + "\n")
        records[target.name] = json.loads(file.read_text(encoding="utf-8"))
        shop.display.advance("evaluate", number + 1, len(targets), {})
    lines = [
        {
            "prompt": example.prompt,
            "completions": {name: record["texts"][i] for name, record in records.items()},
            "scores": {
                name: {reward: values[i] for reward, values in record["scores"].items()}
                for name, record in records.items()
            },
        }
        for i, example in enumerate(dataset.examples)
    ]
    write_text(folder / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    rewards = [reward.name for reward in planned.rewards]
    prompts = [example.prompt for example in dataset.examples]
    table = {
        name: _row(prompts, record, records[against.name], rewards, planned, shop)
        for name, record in records.items()
    }
    return {
        "kind": "policies",
        "on": stage.on,
        "against": stage.against,
        "prompts": len(dataset),
        "per_prompt": stage.per_prompt,
        "rewards": rewards,
        "targets": table,
    }


def _sample_target(
    target: recipe.Target, planned: PlannedStage, stage: recipe.Evaluate, shop: Workshop, dataset: Dataset
) -> dict[str, Any]:
    """A target's completions of every prompt, with their scores and log-ratios, as plain values."""
    with shop.roles() as roles:
        roles.add("policy", trainable=False, start=shop.adapter(target.stage))
        roles.add("reference", trainable=False, start=shop.adapter(stage.against))
        sampler = make_sampler(shop.registry, stage.sampler, roles, stage.weights)
        settings = shop.sampling(
            stage, stage.per_prompt * target.best_of, max(1, stage.batch_size // target.best_of)
        )
        drawn = sampler.sample("policy", [group.prompt for group in dataset.groups], settings)
        chosen = [0.0] * len(drawn)  # how far the choice moves from the policy's own samples, of each prompt
        if target.best_of > 1:
            chooser = Scorer(planned.best[0], roles, shop.folder, BUDGET)
            totals = chooser(*shop.written(dataset.examples, dataset.groups, drawn)).total
            chosen = [best_of_divergence(scores, target.best_of) for scores in totals]
            drawn = [
                best_of(samples, scores, target.best_of)
                for samples, scores in zip(drawn, totals, strict=True)
            ]
        examples, groups = shop.written(dataset.examples, dataset.groups, drawn)
        scores = Scorer(planned.rewards, roles, shop.folder, BUDGET)(examples, groups).each
        ratios = (
            _log_ratios(roles, groups, same=target.stage == stage.against)
            if stage.whole
            else [[] for _ in groups]
        )
    return {
        "texts": [[text_of(completion) for completion in example.completions] for example in examples],
        "tokens": [list(group.completions) for group in groups],
        "finished": [[bool(value) for value in group.columns["finished"]] for group in groups],
        "log_ratios": [
            [ratio + more for ratio in of_prompt] for of_prompt, more in zip(ratios, chosen, strict=True)
        ],
        "scores": scores,
    }


def _log_ratios(roles: Roles, groups: Sequence[Group], *, same: bool) -> list[list[float]]:
    """log π(y | x) − log π'(y | x) of each completion, π the policy and π' the reference; 0 where they are
    the same.
    """
    if same:
        return [[0.0] * len(group.completions) for group in groups]
    found = signals_by_group(roles, groups, range(len(groups)), ["policy", "reference"], BUDGET)
    ratios = []
    for index, group in enumerate(groups):
        parts = (found["logps"][index] - found["reference_logps"][index]).split(
            [len(tokens) for tokens in group.completions]
        )
        ratios.append([float(part.sum()) for part in parts])
    return ratios


def _row(
    prompts: list[Text],
    record: dict[str, Any],
    against: dict[str, Any],
    rewards: list[str],
    planned: PlannedStage,
    shop: Workshop,
) -> dict[str, Any]:
    """A target's line of the table: each reward, its win rate, and every measure, as intervals over
    prompts.
    """
    row: dict[str, list[float | None]] = {}
    for name in rewards:
        row[name] = [_mean(values) for values in record["scores"][name]]
    if record is not against:
        for name in rewards:
            row[f"win_rate/{name}"] = list(win_rate(record["scores"][name], against["scores"][name]))
    samples = Samples(prompts, record["texts"], record["tokens"], record["finished"], record["log_ratios"])
    for name in planned.measures:
        row[name] = measure(shop.registry.measures.get(name), samples)
    return {name: bootstrap(values, seed=shop.seed).to_dict() for name, values in row.items()}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
