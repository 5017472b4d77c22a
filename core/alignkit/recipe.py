"""The recipe: a YAML file and its schema, validated before anything heavy loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from alignkit.errors import UserError, nearest
from alignkit.recipe_file import apply_override, read_yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


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
    """Where examples come from: a JSONL (plain or gzip), Parquet or CSV file, a `datasets` folder, or a hub name."""

    path: str
    split: str = "train"
    subset: str | None = None
    revision: str | None = None
    format: str = "auto"
    limit: int | None = Field(default=None, ge=1)
    rename: dict[str, str] = {}
    on_bad: Literal["error", "skip"] = "skip"


def _shorthand(value: Any) -> Any:
    """A held-out or data entry may be a bare path."""
    return {"path": value} if isinstance(value, str) and ("/" in value or "." in value) else value


class Training(Section):
    """Settings of a training stage; `training:` sets them for all stages. batch_size counts groups (prompts), warmup is a
    share of the steps when below 1 and a number of steps otherwise, held_out a share of the prompts, a data name, or a data entry."""

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
    held_out: Annotated[float | str | Data | None, BeforeValidator(_shorthand)] = None
    evaluate_every: int | None = Field(default=None, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    trackers: list[str] = []


class Term(Section):
    """One objective of a training stage: its options, its weight in the sum, and data of its own."""

    objective: str
    options: dict[str, Any] = {}
    weight: float = Field(default=1.0, gt=0)
    on: str | None = None


class Train(Training):
    """`train: OBJECTIVE`, `train: {OBJECTIVE: options}`, or several, whose losses are added."""

    train: tuple[Term, ...]
    on: str
    start: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_terms(cls, raw: Any) -> Any:
        named = raw.get("train")
        if isinstance(named, str):
            named = {named: None}
        if not isinstance(named, dict) or not named:
            raise ValueError("train takes an objective's name, {name: options}, or several of them")
        terms = []
        for name, options in named.items():
            if options is not None and not isinstance(options, dict):
                raise ValueError(f"the options of {name} must be a mapping, found {options!r}")
            options = dict(options or {})
            engine = {key: options.pop(key) for key in ("weight", "on") if key in options}
            terms.append({"objective": name, "options": options, **engine})
        return {**raw, "train": terms}

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        held_out = [self.held_out] if isinstance(self.held_out, str) else []
        return [*dict.fromkeys([self.on, *(term.on for term in self.train if term.on), *held_out, *([self.start] if self.start else [])])]


class Sample(Section):
    """`sample: STAGE`, or `sample: base`: writes completions for the prompts of `on`."""

    sample: str
    on: str
    per_prompt: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=128, ge=1)
    max_length: int = Field(default=1024, ge=8)
    batch_size: int = Field(default=64, ge=1)

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        return [self.on, *([] if self.sample == "base" else [self.sample])]


class Label(Section):
    """`label: STAGE`: ranks the completions of a `sample` stage (or of data) by the reward `by`.

    noise: the temperature of a Plackett–Luce choice, for two completions σ(difference ÷ noise); 0 ranks by the reward itself.
    """

    label: str
    by: str | dict[str, dict[str, Any] | None]
    noise: float = Field(default=0.0, ge=0)

    @property
    def inputs(self) -> list[str]:
        """Names of data or stages that this stage needs."""
        return [self.label]

    @property
    def reward(self) -> tuple[str, dict[str, Any]]:
        """Name and options of the reward."""
        if isinstance(self.by, str):
            return self.by, {}
        name, options = next(iter(self.by.items()))
        return name, options or {}


Stage = Train | Sample | Label
VERBS: dict[str, type[Train] | type[Sample] | type[Label]] = {"train": Train, "sample": Sample, "label": Label}


class Recipe(Section):
    """A whole recipe, its stages in an order in which each comes after those it needs."""

    name: str
    seed: int = Field(default=0, ge=0)
    model: Model = Model()
    data: dict[str, Annotated[Data, BeforeValidator(_shorthand)]] = {}
    training: Training = Training()
    stages: dict[str, Any]


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read, override and validate a recipe. Raises UserError with the key path of the first mistake."""
    raw = read_yaml(path)
    for override in overrides or []:
        apply_override(raw, override)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: Any, source: str = "recipe") -> Recipe:
    """A validated recipe from a plain mapping."""
    if not isinstance(raw, dict):
        raise UserError(f"a recipe is a mapping of keys, found {type(raw).__name__}", where=source)
    recipe = _validate(Recipe, raw, "")
    _check_name(recipe.name, "name")
    shared = recipe.training.model_dump(exclude_unset=True)
    stages = {name: _parse_stage(name, stage, shared) for name, stage in recipe.stages.items()}
    if not stages:
        raise UserError("a recipe needs at least one stage", where="stages")
    return recipe.model_copy(update={"stages": _in_order(stages, recipe.data)})


def _parse_stage(name: str, raw: Any, shared: dict[str, Any]) -> Stage:
    where = f"stages.{name}"
    _check_name(name, where)
    verbs = [verb for verb in VERBS if isinstance(raw, dict) and verb in raw]
    if len(verbs) != 1:
        found = ", ".join(map(str, raw)) if isinstance(raw, dict) else repr(raw)
        raise UserError(f"a stage has exactly one of the verbs {', '.join(VERBS)}; found {found}", where=where)
    cls = VERBS[verbs[0]]
    return _validate(cls, {**shared, **raw} if cls is Train else raw, where)


def _in_order(stages: dict[str, Stage], data: dict[str, Data]) -> dict[str, Stage]:
    """The stages in a topological order, as written where possible; unknown inputs and cycles are errors."""
    for name, stage in stages.items():
        if name in data:
            raise UserError(f"{name!r} is both a stage and data", where=f"stages.{name}", hint="Rename one of them.")
        for needed in stage.inputs:
            if needed not in stages and needed not in data:
                raise UserError(f"no stage and no data is named {needed!r}", where=f"stages.{name}", hint=nearest(needed, [*stages, *data]))
    done: dict[str, Stage] = {}
    while len(done) < len(stages):
        ready = [name for name, stage in stages.items() if name not in done and all(i in done or i in data for i in stage.inputs)]
        if not ready:
            left = [name for name in stages if name not in done]
            raise UserError(
                f"the stages {', '.join(left)} wait for each other",
                where="stages",
                hint="Break the cycle of `on`, `start`, `sample`, `label`.",
            )
        done[ready[0]] = stages[ready[0]]
    return done


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no valid name", where=where, hint="Names become folders: letters, digits, - and _, a letter or digit first."
        )


def _validate(cls: type[Any], raw: Any, where: str) -> Any:
    try:
        return cls.model_validate(raw)
    except ValidationError as error:
        raise explain(error, cls, where) from error


def explain(error: ValidationError, cls: type[BaseModel], where: str) -> UserError:
    """The first mistake of a validation as a UserError: full key path, what was found, what was expected."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if not (isinstance(part, str) and re.search(r"[\[(]|^(str|float|bool|Data)$", part))]
    path = ".".join([*([where] if where else []), *location])
    if first["type"] == "extra_forbidden":
        return UserError("unknown key", where=path, hint=nearest(location[-1], _fields_at(cls, location[:-1])))
    if first["type"] == "missing":
        return UserError("this key is required and missing", where=path)
    message = first["msg"].removeprefix("Value error, ")
    return UserError(f"{message[:1].lower()}{message[1:]}, found {first['input']!r}" if location else message, where=path)


def _fields_at(cls: Any, location: list[str]) -> list[str]:
    """The keys that the schema knows at a place below `cls`."""
    for part in location:
        info = cls.model_fields.get(part) if isinstance(cls, type) and issubclass(cls, BaseModel) else None
        annotation = info.annotation if info else None
        nested = [a for a in [annotation, *getattr(annotation, "__args__", ())] if isinstance(a, type) and issubclass(a, BaseModel)]
        if info is not None and not nested:
            cls = Data if part == "data" else cls
        elif nested:
            cls = nested[0]
    return list(cls.model_fields)
