"""The settings that a recipe's stages share: the base, data, training, and how completions are drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from alignkit.sampler import LEAST_TEMPERATURE


class Section(BaseModel):
    """Any mapping of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Lora(Section):
    """The adapter of every role. `target`: all-linear, or names of linear layers, not the output head's.
    dropout: in training on fixed data; methods that learn from their own samples compare probabilities with
    those at sampling, and train without."""

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target: str | list[str] = "all-linear"


class Model(Section):
    """The frozen base that all roles share. dtype auto: bfloat16 where the machine computes in it, else
    float16 (CUDA) or float32.
    """

    base: str = "smollm2-135m"
    revision: str | None = None
    quantization: Literal["nf4", "int8", "none"] = "nf4"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    lora: Lora = Lora()
    gradient_checkpointing: Literal["auto"] | bool = "auto"


class DataEntry(Section):
    """Where examples come from: a JSONL (plain or gzip), Parquet or CSV file, a `datasets` folder, or a hub
    name.

    skip: rows left out at the beginning; limit: usable examples to stop after.
    """

    path: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    format: str = "auto"
    skip: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=1)
    rename: dict[str, str] = {}
    on_bad: Literal["error", "skip"] = "skip"


def shorthand(value: Any) -> Any:
    """A held-out or data entry may be a bare path."""
    return {"path": value} if isinstance(value, str) and ("/" in value or "." in value) else value


class Drawing(Section):
    """How completions are sampled. temperature 0 takes the likeliest token. top_k 0 keeps every token; stop:
    texts that end a completion. weights: decode from an unquantized copy with the adapter merged (faster)
    where memory allows it (auto), always (merged), or through the base as it is (quantized)."""

    temperature: float = Field(default=1.0, ge=0, le=100)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1)
    min_tokens: int = Field(default=0, ge=0)
    max_tokens: int = Field(default=128, ge=1)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    sampler: str = "engine"
    weights: Literal["auto", "merged", "quantized"] = "auto"

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
        """Whether samples follow the policy's own distribution: nothing sharpened, cut off or forbidden."""
        return (self.temperature, self.top_k, self.top_p, self.min_p, self.min_tokens) == (1, 0, 1, 0, 0)


class Training(Section):
    """Settings of a training stage; `training:` sets them for all stages. batch_size counts groups (prompts),
    steps are the optimizer's, warmup is a share of the steps when below 1 and a number of steps otherwise,
    held_out about that share of the prompts, the same in every stage, or a data name or entry, of data that
    is fixed. max_length: the most tokens of a prompt with its completion, a sampled one at its longest; a
    longer prompt loses its beginning. micro_batch_tokens bounds the tokens whose activations are held at
    once, those of all trained roles together; it changes memory and speed, not the result. sampling: how
    methods that learn from their own samples draw them."""

    learning_rate: float = Field(default=1e-4, gt=0)
    batch_size: int = Field(default=16, ge=1)
    epochs: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = Field(default=0.1, ge=0)
    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw-8bit"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(default=1024, ge=8)
    micro_batch_tokens: int = Field(default=2048, ge=1)
    sampling: Drawing = Drawing()
    held_out: Annotated[float | str | DataEntry | None, BeforeValidator(shorthand)] = None
    evaluate_every: int | None = Field(default=None, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    trackers: list[str] = []
