"""Defines the settings of the base and of the adapters over it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from alignkit.recipe.initializations import known
from alignkit.recipe.section import Section


class Lora(Section):
    """The adapter of every role."""

    r: int = Field(default=16, ge=1, description="rank of the adapter's two matrices")
    alpha: float = Field(
        default=32, gt=0, description="scale: the adapter's output is multiplied by alpha ÷ r"
    )
    # Online objectives compare probabilities with those at sampling, where nothing is dropped.
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the adapter's inputs that is dropped in training; online objectives use none",
    )
    target: str | list[str] = Field(
        default="all-linear",
        description="all-linear, or the names of the linear layers to adapt, without the output head",
    )
    use_rslora: bool = Field(
        default=False,
        description="rank-stabilized LoRA: divide alpha by the square root of r, not by r",
    )
    use_dora: bool = Field(
        default=False,
        description="DoRA: train the length of each row of a weight beside its direction; it is slower",
    )
    init_lora_weights: bool | str = Field(
        default=True,
        description="how a new adapter begins: true, gaussian or mica adds nothing; pissa, pissa_niter_N or "
        "olora begins with the main part of each weight; loftq with what quantization lost; false or "
        "orthogonal at random",
    )
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default={},
        description="ranks of single layers, as {name: r}; a name is the end of a layer's path, or a regular "
        "expression for it",
    )
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="values of alpha of single layers, as {name: alpha}, see rank_pattern"
    )
    modules_to_save: None = Field(
        default=None,
        exclude=True,
        description="always none: roles share one base, so no role can train layers of the base",
    )

    @field_validator("init_lora_weights")
    @classmethod
    def _initialization(cls, value: bool | str) -> bool | str:
        return known(value)

    @field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _regular_expressions(cls, patterns: dict[str, Any]) -> dict[str, Any]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns

    @field_validator("modules_to_save", mode="before")
    @classmethod
    def _no_whole_modules(cls, modules: Any) -> None:
        if modules:
            raise ValueError(
                "whole layers cannot be trained: all roles share the base's, so the reference would change "
                "with the policy. Adapt the layers with `target`"
            )

    @model_validator(mode="after")
    def _even_ranks(self) -> Lora:
        odd = [rank for rank in (self.r, *self.rank_pattern.values()) if rank % 2]
        if self.init_lora_weights == "orthogonal" and odd:
            raise ValueError(f"init_lora_weights orthogonal needs even ranks, found r {odd[0]}")
        return self

    @property
    def slower_by(self) -> tuple[str, ...]:
        """Return the settings for which PEFT computes the adapters, which is slower than alignkit's way."""
        return (*(["use_dora"] if self.use_dora else []), *(["dropout"] if self.dropout else []))


class Model(Section):
    """The frozen base that all roles share."""

    base: str = Field(
        default="smollm2-135m", description="hub id, local folder, or a name that a plugin registers"
    )
    revision: str | None = Field(
        default=None, description="branch, tag or commit of a base on the hub; none means the newest"
    )
    quantization: Literal["auto", "nf4", "fp4", "int8", "none"] = Field(
        default="auto",
        description="how the base's weights are kept: in 4 bits (nf4, fp4), in 8 bits, or as they are; auto "
        "decides by their number and the memory, and says how",
    )
    block_size: Literal[64, 32] = Field(
        default=64,
        description="weights that share one scale in 4 bits; smaller blocks lose less and take more memory",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto",
        description="what the base computes in; auto means bfloat16 where the machine computes in it, "
        "else float16 on CUDA and float32 elsewhere",
    )
    lora: Lora = Field(default=Lora(), description="the adapter of every role")
    gradient_checkpointing: Literal["auto"] | bool = Field(
        default="auto",
        description="recompute activations in the backward pass, which saves memory and costs time; "
        "auto means on CUDA, for bases of more than 1 billion parameters",
    )

    @model_validator(mode="after")
    def _blocks_go_with_quantization(self) -> Model:
        if self.block_size != 64 and self.quantization in ("int8", "none"):
            raise ValueError(
                f"block_size {self.block_size} is for weights in 4 bits, and quantization is "
                f"{self.quantization}; use nf4 or fp4, or leave block_size out"
            )
        return self

    @model_validator(mode="after")
    def _adapter_goes_with_quantization(self) -> Model:
        if self.lora.use_dora and self.quantization == "int8":
            raise ValueError(
                "lora.use_dora does not go with int8: PEFT replaces the base's int8 weights when it "
                "computes DoRA; use nf4 or none"
            )
        if self.lora.init_lora_weights == "loftq" and self.quantization == "none":
            raise ValueError(
                "lora.init_lora_weights loftq makes up for what quantization lost, and quantization is none; "
                "use nf4, fp4 or int8, or begin in another way"
            )
        return self
