"""What the stages of a run share: the plan, the run's folder, the base, and how data and completions are read
and drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from accelerate import Accelerator

from alignkit import recipe
from alignkit.data.loading import Dataset, load, split_held_out
from alignkit.data.tokenizing import Tokenization
from alignkit.display import TerminalDisplay
from alignkit.errors import UserError
from alignkit.example import Example, Group
from alignkit.models.base import Base, load_base, load_tokenizer, most_positions
from alignkit.models.roles import Roles
from alignkit.objective import DataKind
from alignkit.registry import Registry
from alignkit.sampler import Drawn, Sampling
from alignkit.stages.plan import Plan, PlannedStage, PlannedTerm

SAMPLES, RANKED = "samples.jsonl", "ranked.jsonl"


@dataclass
class Workshop:
    """What stages share. The base is loaded when first needed and kept for the stages after."""

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

    def roles(self, *, dropout: bool = True) -> Roles:
        """The base without any role yet; a context that takes all of them off again. dropout: whether the
        recipe's is in effect.
        """
        lora = self.plan.recipe.model.lora
        return Roles(self.base, lora if dropout else lora.model_copy(update={"dropout": 0.0}), self.seed)

    def adapter(self, stage: str | None) -> Path | None:
        """Where a training stage keeps its adapter; None for the base itself."""
        return None if stage in (None, recipe.BASE) else self.folder / stage / "adapter"

    @cached_property
    def positions(self) -> int | None:
        """The most tokens that the base has positions for; loads no weights."""
        return self._base.positions if self._base else most_positions(self.plan.recipe.model, self.registry)

    def tokenization(self, max_length: int, room: int = 0) -> Tokenization:
        """The base's tokenizer with a length limit, of which `room` is left for completions to be sampled;
        loads no weights.
        """
        tokenizer = (
            self._base.tokenizer if self._base else load_tokenizer(self.plan.recipe.model, self.registry)
        )
        limit = max_length
        if self.positions is not None and self.positions < max_length:
            limit = self.positions
            self.display.note(
                f"max_length {max_length} is more than the base has positions for; it is {limit} here"
            )
        if limit <= room:
            raise UserError(
                f"completions of {room} tokens leave no room for a prompt: "
                f"the base has positions for {limit}",
                where="max_tokens",
                hint="Lower max_tokens, or choose another base.",
            )
        return Tokenization(tokenizer, limit - room)

    def data(self, name: str) -> recipe.DataEntry:
        """The data entry called `name`, or what the stage of that name wrote."""
        if name not in self.plan.stages:
            return self.plan.data[name]
        for file in (RANKED, SAMPLES):
            if (self.folder / name / file).is_file():
                return recipe.DataEntry.model_validate({"path": str(self.folder / name / file)})
        raise UserError(
            f"the stage {name!r} wrote no data",
            where=f"stages.{name}",
            hint="`on` takes data, a sample stage or a label stage.",
        )

    def load(self, name: str, kind: type[DataKind], max_length: int, room: int = 0) -> Dataset:
        """Read, check and tokenize the data called `name`; shows its report. See `tokenization` for the
        lengths.
        """
        return self._load(self.data(name), name, kind, self.tokenization(max_length, room), f"data.{name}")

    def _load(
        self, spec: recipe.DataEntry, name: str, kind: type[DataKind], tokenization: Tokenization, where: str
    ) -> Dataset:
        dataset = load(
            spec, kind, name=name, tokenization=tokenization, formats=self.registry.formats.items, where=where
        )
        for line in dataset.report.lines():
            self.display.note(line)
        return dataset

    def split(
        self, term: PlannedTerm, planned: PlannedStage, stage: recipe.Train
    ) -> tuple[Dataset, Dataset | None]:
        """A term's training and held-out data. A share is cut off by prompt; otherwise held-out data is read
        by itself. A method that learns from its own samples has none: `evaluate` measures it."""
        kind = term.objective.data
        dataset = self.load(term.on, kind, stage.max_length, stage.sampling.max_tokens if term.online else 0)
        if term.online:
            return dataset, None
        if planned.held_out is not None:
            tokenization = self.tokenization(stage.max_length)
            return dataset, self._load(
                planned.held_out, "held out", kind, tokenization, f"stages.{planned.name}.held_out"
            )
        if isinstance(stage.held_out, str):
            return dataset, self.load(stage.held_out, kind, stage.max_length)
        if isinstance(stage.held_out, float):
            return split_held_out(dataset, stage.held_out, self.seed)
        return dataset, None

    def sampling(self, settings: recipe.Drawing, per_prompt: int, batch_size: int = 64) -> Sampling:
        """The recipe's settings of drawing, for the sampler."""
        return Sampling(
            per_prompt=per_prompt,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            min_p=settings.min_p,
            min_tokens=settings.min_tokens,
            max_tokens=settings.max_tokens,
            stop=settings.stop,
            seed=self.seed,
            batch_size=batch_size,
        )

    def written(
        self, examples: Sequence[Example], groups: Sequence[Group], drawn: list[list[Drawn]]
    ) -> tuple[list[Example], list[Group]]:
        """The prompts with their sampled completions, as text and as tokens; column `finished`: ended by
        itself.
        """
        texts, tokens = [], []
        for example, group, samples in zip(examples, groups, drawn, strict=True):
            finished = {"finished": tuple(float(sample.finished) for sample in samples)}
            plain = isinstance(example.prompt, str)
            said = [
                self.base.text(sample.tokens, after=group.prompt if plain else None) for sample in samples
            ]
            completions = tuple(text if plain else [{"role": "assistant", "content": text}] for text in said)
            texts.append(replace(example, completions=completions, columns=finished))
            tokens.append(
                replace(group, completions=tuple(sample.tokens for sample in samples), columns=finished)
            )
        return texts, tokens
