"""What the verbs do: train roles, sample completions, label them by a reward. Each fills its stage's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from alignkit import recipe
from alignkit.checkpoint import write_text
from alignkit.data.example import Example
from alignkit.data.loading import Dataset, load, split_held_out
from alignkit.data.tokenizing import Tokenization
from alignkit.display import TerminalDisplay
from alignkit.errors import UserError
from alignkit.models.base import Base, load_base, load_tokenizer
from alignkit.models.roles import Roles
from alignkit.objective import Data as Kind
from alignkit.objective import Prompts
from alignkit.plan import Plan, PlannedStage, PlannedTerm
from alignkit.registry import Registry
from alignkit.sampling.labelling import rank, score
from alignkit.sampling.sampler import Sampling
from alignkit.sampling.samplers import EngineSampler
from alignkit.training import Trainer, TrainingTerm

SAMPLES, RANKED = "samples.jsonl", "ranked.jsonl"


@dataclass
class Workshop:
    """What stages share: the plan, the run's folder, and the base, loaded when first needed and kept for the stages after."""

    plan: Plan
    registry: Registry
    folder: Path
    display: TerminalDisplay
    accelerator: Accelerator
    _base: Base | None = None

    @property
    def base(self) -> Base:
        """The base, loaded once a run."""
        if self._base is None:
            self._base = load_base(self.plan.recipe.model, self.registry, self.accelerator.device)
            if self._base.flat_because:
                self.display.note(f"rows are laid flat, not as prefix trees: {self._base.flat_because}")
        return self._base

    @property
    def seed(self) -> int:
        """The recipe's seed."""
        return self.plan.recipe.seed

    def tokenization(self, max_length: int) -> Tokenization:
        """The base's tokenizer with a length limit; loads no weights."""
        tokenizer = self._base.tokenizer if self._base else load_tokenizer(self.plan.recipe.model, self.registry)
        return Tokenization(tokenizer, max_length)

    def data(self, name: str) -> recipe.Data:
        """The data entry called `name`, or what the stage of that name wrote."""
        stage = self.plan.stages.get(name)
        if stage is None:
            return self.plan.data[name]
        for file in (RANKED, SAMPLES):
            if (self.folder / name / file).is_file():
                return recipe.Data.model_validate({"path": str(self.folder / name / file)})
        raise UserError(
            f"the stage {name!r} wrote no data", where=f"stages.{name}", hint="`on` takes data, a sample stage or a label stage."
        )

    def load(self, name: str, kind: type[Kind], max_length: int) -> Dataset:
        """Read, check and tokenize the data called `name`; shows its report."""
        return self._load(self.data(name), name, kind, max_length)

    def _load(self, spec: recipe.Data, name: str, kind: type[Kind], max_length: int) -> Dataset:
        dataset = load(spec, kind, name=name, tokenization=self.tokenization(max_length), formats=self.registry.formats.items)
        for line in dataset.report.lines():
            self.display.note(line)
        return dataset

    def split(self, term: PlannedTerm, planned: PlannedStage, stage: recipe.Train) -> tuple[Dataset, Dataset | None]:
        """A term's training and held-out data. A share is cut off by prompt; otherwise held-out data is read by itself."""
        kind = term.objective.data
        dataset = self.load(term.on, kind, stage.max_length)
        if planned.held_out is not None:
            return dataset, self._load(planned.held_out, "held out", kind, stage.max_length)
        if isinstance(stage.held_out, str):
            return dataset, self.load(stage.held_out, kind, stage.max_length)
        if isinstance(stage.held_out, float):
            return split_held_out(dataset, stage.held_out, self.seed)
        return dataset, None


def run_stage(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Do a stage in its folder; returns its summary, also written to `summary.json`."""
    verb = {recipe.Train: run_train, recipe.Sample: run_sample, recipe.Label: run_label}[type(planned.stage)]
    summary = verb(planned, shop, folder)
    write_text(folder / "summary.json", json.dumps(summary, indent=2, sort_keys=True) + "\n")
    return summary


def run_train(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Train the roles of the stage's objectives and save their adapters."""
    stage = planned.stage
    assert isinstance(stage, recipe.Train)
    terms, reports = [], {}
    for term in planned.terms:
        dataset, held_out = shop.split(term, planned, stage)
        reports[term.on] = dataset.report.to_dict()
        groups = held_out.groups if held_out is not None else []
        terms.append(TrainingTerm(term.objective, term.weight, dataset.groups, groups))
    write_text(folder / "data.json", json.dumps(reports, indent=2) + "\n")
    roles = make_roles(planned.terms, shop, stage.start)
    with roles:
        trainer = Trainer(
            roles, terms, stage, seed=shop.seed, folder=folder, display=shop.display, accelerator=shop.accelerator,
            track=_tracker(stage, shop, planned.name),
        )  # fmt: skip
        held_out_metrics = trainer.run()
        if shop.accelerator.is_main_process:
            for name, place in adapter_folders(roles).items():
                roles.save(name, folder / place)
    return {"steps": trainer.steps, **held_out_metrics}


def make_roles(terms: tuple[PlannedTerm, ...], shop: Workshop, start: str | None) -> Roles:
    """The roles that the objectives train and read. Trained ones, and the reference, begin as the `start` stage's adapter."""
    trained = set().union(*(term.objective.trains for term in terms))
    read = set().union(*(term.objective.reads for term in terms)) - trained
    adapter = shop.folder / start / "adapter" if start else None
    roles = Roles(shop.base, shop.plan.recipe.model.lora, shop.seed)
    for name in sorted(trained):
        roles.add(name, trainable=True, start=adapter)
    for name in sorted(read):
        roles.add(name, trainable=False, start=adapter)
    return roles


def adapter_folders(roles: Roles) -> dict[str, str]:
    """Where each trained role is saved: `adapter` for the policy, or the only role; `adapter-ROLE` for others beside it."""
    trained = sorted(name for name, role in roles.roles.items() if role.trainable)
    main = "policy" if "policy" in trained else trained[0]
    return {name: "adapter" if name == main else f"adapter-{name}" for name in trained}


def _tracker(stage: recipe.Train, shop: Workshop, name: str) -> Callable[[int, dict[str, float]], None]:
    if not stage.trackers:
        return lambda step, values: None
    try:
        tracking = Accelerator(cpu=shop.accelerator.device.type == "cpu", log_with=list(stage.trackers), project_dir=str(shop.folder))
        tracking.init_trackers(f"{shop.plan.recipe.name}-{name}")
    except (ImportError, ValueError) as error:
        raise UserError(
            str(error), where="training.trackers", hint="Trackers are accelerate's, by name: tensorboard, wandb, …; install theirs."
        ) from error
    return lambda step, values: tracking.log(values, step=step)


def run_sample(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Write `samples.jsonl`: each prompt of the data with its sampled completions."""
    stage = planned.stage
    assert isinstance(stage, recipe.Sample)
    dataset = shop.load(stage.on, Prompts, stage.max_length)
    with Roles(shop.base, shop.plan.recipe.model.lora, shop.seed) as roles:
        roles.add("policy", trainable=False, start=shop.folder / stage.sample / "adapter" if stage.sample != "base" else None)
        settings = Sampling(
            stage.per_prompt, stage.temperature, stage.top_p, max_tokens=stage.max_tokens, seed=shop.seed, batch_size=stage.batch_size
        )
        drawn = sample_texts(roles, dataset.examples, [group.prompt for group in dataset.groups], settings, shop.display)
    lines = []
    finished = 0
    for example, completions in zip(dataset.examples, drawn, strict=True):
        finished += sum(done for _, done in completions)
        lines.append(
            json.dumps(
                {"prompt": example.prompt, "completions": [as_completion(example, text) for text, _ in completions]}, ensure_ascii=False
            )
        )
    write_text(folder / SAMPLES, "\n".join(lines) + "\n")
    count = len(drawn) * stage.per_prompt
    shop.display.note(f"{count} completions of {len(drawn)} prompts; {finished / count:.0%} end with end-of-sequence")
    return {"prompts": len(drawn), "completions": count, "finished": finished / count}


def sample_texts(
    roles: Roles, examples: list[Example], prompts: list[list[int]], settings: Sampling, display: TerminalDisplay
) -> list[list[tuple[str, bool]]]:
    """The policy's completions as texts, each with whether it ended by itself."""
    base = roles.base
    drawn = EngineSampler(roles).sample(
        "policy", prompts, settings, progress=lambda done, total: display.advance("sample", done, total, {})
    )
    return [
        [(base.text(one.tokens, after=prompt if isinstance(example.prompt, str) else None), one.finished) for one in completions]
        for example, prompt, completions in zip(examples, prompts, drawn, strict=True)
    ]


def as_completion(example: Example, text: str) -> str | list[dict[str, str]]:
    """A sampled text in the form of its prompt."""
    return text if isinstance(example.prompt, str) else [{"role": "assistant", "content": text}]


def run_label(planned: PlannedStage, shop: Workshop, folder: Path) -> dict[str, Any]:
    """Write `ranked.jsonl`: the completions with the reward's scores, ranked by it, with the noise of a Plackett–Luce choice if asked."""
    stage = planned.stage
    assert isinstance(stage, recipe.Label)
    assert planned.reward is not None
    spec = shop.data(stage.label)
    with open(spec.path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    name = stage.reward[0]
    scores = score(
        planned.reward,
        name,
        [row["prompt"] for row in rows for _ in row["completions"]],
        [c for row in rows for c in row["completions"]],
        {},
    )
    generator = np.random.default_rng(shop.seed)
    remaining, lines, kept, abstained = iter(scores), [], [], 0
    for row in rows:
        judged = [(completion, value) for completion, value in ((c, next(remaining)) for c in row["completions"]) if value is not None]
        abstained += len(row["completions"]) - len(judged)
        if judged:
            values = [value for _, value in judged]
            kept += values
            record = {
                "prompt": row["prompt"],
                "completions": [c for c, _ in judged],
                "ranks": rank(values, stage.noise, generator),
                "rewards": values,
            }
            lines.append(json.dumps(record, ensure_ascii=False))
    write_text(folder / RANKED, "\n".join(lines) + "\n")
    mean = float(np.mean(kept)) if kept else float("nan")
    shop.display.note(f"{len(kept)} completions of {len(lines)} prompts ranked by {name}, mean {mean:.3f}; abstained from {abstained}")
    return {"prompts": len(lines), "completions": len(kept), "abstained": abstained, "mean_reward": mean}
