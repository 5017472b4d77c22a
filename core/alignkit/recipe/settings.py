"""Defines the settings that stages share: data, training, and how completions are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from alignkit.recipe.named import Named
from alignkit.recipe.section import Section
from alignkit.sampler import LEAST_TEMPERATURE, Sampling


class DataEntry(Section):
    """Where examples come from, and which of them are used."""

    path: str = Field(
        description="a JSONL, JSON, CSV (plain or gzip) or Parquet file, a `datasets` folder, or a hub name"
    )
    split: str = Field(default="train", description="split of the data set, such as train or test")
    subset: str | None = Field(default=None, description="subset (configuration) of a data set on the hub")
    revision: str | None = Field(
        default=None, description="branch, tag or commit of a data set on the hub; none means the newest"
    )
    format: str = Field(
        default="auto", description="name of the format of the rows; auto means by the columns of each row"
    )
    skip: int = Field(default=0, ge=0, description="rows to leave out at the beginning")
    limit: int | None = Field(
        default=None, ge=1, description="usable examples after which reading stops; none means all"
    )
    rename: dict[str, str] = Field(default={}, description="columns to rename, as {found: expected}")
    on_bad: Literal["error", "skip"] = Field(
        default="skip",
        description="what to do with a row that cannot be used: skip leaves it out and reports it, error "
        "stops",
    )


def shorthand(value: Any) -> Any:
    """Return the data entry that a bare path stands for, and any other value as it is."""
    return {"path": value} if isinstance(value, str) and ("/" in value or "." in value) else value


class Drawing(Section):
    """How completions are drawn from a policy."""

    temperature: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description=f"divides the logits: 0 takes the most likely token, else at least {LEAST_TEMPERATURE:g}",
    )
    top_k: int = Field(default=0, ge=0, description="sample from the k most likely tokens; 0 means all")
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="sample from the fewest most likely tokens whose probabilities add up to this",
    )
    min_p: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="sample from tokens that are at least this many times as likely as the most likely one",
    )
    min_tokens: int = Field(
        default=0, ge=0, description="tokens that are drawn before a token may end the completion"
    )
    max_tokens: int = Field(default=128, ge=1, description="the most tokens of a completion")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="texts that end a completion"
    )
    sampler: str = Field(default="engine", description="name of the registered sampler that draws")
    weights: Literal["auto", "merged", "quantized"] = Field(
        default="auto",
        description="what to compute with: merged is an unquantized copy with the adapter in it, which is "
        "faster; quantized is the base as it is; auto means merged where memory allows it",
    )

    @field_validator("temperature")
    @classmethod
    def _no_overflow(cls, temperature: float) -> float:
        if 0 < temperature < LEAST_TEMPERATURE:
            raise ValueError(f"a temperature is 0 or at least {LEAST_TEMPERATURE:g}")
        return temperature

    @model_validator(mode="after")
    def _settings_agree(self) -> Drawing:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is more than max_tokens {self.max_tokens}")
        return self

    @property
    def whole(self) -> bool:
        """Tell whether samples follow the policy's distribution: nothing is sharpened, cut off or
        forbidden.
        """
        return (self.temperature, self.top_k, self.top_p, self.min_p, self.min_tokens) == (1, 0, 1, 0, 0)

    def sampling(self, per_prompt: int, seed: int, batch_size: int = 64) -> Sampling:
        """Return these settings as a sampler takes them.

        per_prompt: completions per prompt. batch_size: prompts computed together.
        """
        common = Drawing.model_fields.keys() & {field.name for field in fields(Sampling)}
        drawing: dict[str, Any] = {name: getattr(self, name) for name in common}
        return Sampling(per_prompt=per_prompt, seed=seed, batch_size=batch_size, **drawing)


class OptimizerTerm(Named):
    """The optimizer of a training stage with its options."""

    named: ClassVar[str] = "optimizer"
    kind: ClassVar[str] = "an optimizer"
    several: ClassVar[str] = ""

    optimizer: str = Field(description="name of a registered optimizer")
    options: dict[str, Any] = Field(default={}, description="options of the optimizer")

    @classmethod
    def read(cls, raw: Any) -> Any:
        """Return the fields of the one optimizer in `raw`. Raises ValueError for several, and for none."""
        found = super().read(raw)
        if isinstance(raw, list) or len(found) != 1:
            raise ValueError("give the name of one optimizer, or {name: options}")
        return found


class ObserverTerm(Named):
    """An observer of a training stage with its options."""

    named: ClassVar[str] = "observer"
    kind: ClassVar[str] = "an observer"

    observer: str = Field(description="name of a registered observer")
    options: dict[str, Any] = Field(default={}, description="options of the observer")


Rate = Annotated[float, Field(gt=0)]
Rates = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[dict[str, Rate], Tag("mapping")],
    Discriminator(lambda raw: "mapping" if isinstance(raw, dict) else "number"),
]
"""A learning rate, or one for each role. The tags make a mistake in one of them name its key."""


class Training(Section):
    """The settings of training stages. `training:` sets them for all of them."""

    learning_rate: Rates = Field(
        default=1e-4,
        description="the highest learning rate, which is reached after the warm-up; or {role: rate} with a "
        "rate for each trained role",
    )
    batch_size: int = Field(default=16, ge=1, description="prompts per batch, each with all its completions")
    epochs: float = Field(
        default=1.0, gt=0, description="passes over the data; without effect where `steps` is set"
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps; none means the steps of `epochs` passes over the data",
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="cosine",
        description="the learning rate after the warm-up: constant, or falling to 0 linearly or as half a "
        "cosine",
    )
    warmup: float = Field(
        default=0.1,
        ge=0,
        description="steps in which the learning rate rises: below 1 a share of all steps, else a number",
    )
    optimizer: Annotated[tuple[OptimizerTerm, ...], BeforeValidator(OptimizerTerm.read)] = Field(
        default=(OptimizerTerm(optimizer="adamw"),), description="what updates the weights, with its options"
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="share of each weight, times the learning rate, that a step takes away from it",
    )
    max_grad_norm: float = Field(
        default=1.0,
        gt=0,
        description="the largest norm of the gradient; a larger gradient is scaled down to it",
    )
    max_length: int = Field(
        default=1024,
        ge=8,
        description="the most tokens of a prompt with its completion; for sampling, max_tokens are reserved "
        "for "
        "the completion; a longer prompt loses its beginning",
    )
    micro_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="the most tokens whose activations are held at once, of all trained roles together; it "
        "changes memory and speed, not the result",
    )
    sampling: Drawing = Field(
        default=Drawing(), description="how objectives that learn from their own samples draw them"
    )
    held_out: Annotated[float | str | DataEntry | None, BeforeValidator(shorthand)] = Field(
        default=None,
        description="data to measure on: a share of the prompts, left out of training in every stage; the "
        "name "
        "of data; or a data entry",
    )
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps between measurements on held-out data; none means only at the end",
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps between checkpoints; none means a tenth of all steps, and at least 10",
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="number of a stage's newest checkpoints to keep"
    )
    preview_every: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps between previews, answers of the trained policy to a few fixed prompts, "
        "which change no result; none means no previews",
    )
    previews: int = Field(
        default=3,
        ge=1,
        description="prompts to preview: the first held-out ones, or else the first of the data",
    )
    trackers: list[str] = Field(
        default=[],
        description="trackers of accelerate that receive the metrics, such as tensorboard or wandb",
    )
    observers: Annotated[tuple[ObserverTerm, ...], BeforeValidator(ObserverTerm.read)] = Field(
        default=(), description="what looks on while the stage trains, and may end it early"
    )

    def rates(self, roles: Iterable[str]) -> dict[str, float]:
        """Return the highest learning rate of each of the roles, for which the recipe has one."""
        if isinstance(self.learning_rate, dict):
            return {role: self.learning_rate[role] for role in roles}
        return dict.fromkeys(roles, self.learning_rate)
