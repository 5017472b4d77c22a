"""The settings that a recipe's stages share: the base, data, training, and how completions are drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """Any mapping of a recipe: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Section):
    """The adapter of every role. `target`: all-linear, or names of layers."""

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target: str | list[str] = "all-linear"


class Model(Section):
    """The frozen base that all roles share. dtype auto: bfloat16 where the machine computes in it, else float16 (CUDA) or float32."""

    base: str = "smollm2-135m"
    revision: str | None = None
    quantization: Literal["nf4", "int8", "none"] = "nf4"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    lora: Lora = Lora()
    gradient_checkpointing: Literal["auto"] | bool = "auto"


class Data(Section):
    """Where examples come from: a JSONL (plain or gzip), Parquet or CSV file, a `datasets` folder, or a hub name.

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
    """How completions are sampled. top_k 0 keeps every token; stop: texts that end a completion. weights: decode from an unquantized
    copy with the adapter merged (faster) where memory allows it (auto), always (merged), or through the base as it is (quantized)."""

    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, lt=1)
    min_tokens: int = Field(default=0, ge=0)
    max_tokens: int = Field(default=128, ge=1)
    stop: tuple[str, ...] = ()
    sampler: str = "engine"
    weights: Literal["auto", "merged", "quantized"] = "auto"


class Training(Section):
    """Settings of a training stage; `training:` sets them for all stages. batch_size counts groups (prompts), steps are the
    optimizer's, warmup is a share of the steps when below 1 and a number of steps otherwise, held_out a share of the prompts, a data
    name, or a data entry. micro_batch_tokens bounds the tokens whose activations are held at once, those of all trained roles together;
    it changes memory and speed, not the result. sampling: how methods that learn from their own samples draw them."""

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
    held_out: Annotated[float | str | Data | None, BeforeValidator(shorthand)] = None
    evaluate_every: int | None = Field(default=None, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    trackers: list[str] = []
