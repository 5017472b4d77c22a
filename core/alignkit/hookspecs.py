"""Specifies every hook. Hooks only register; of what they register, observers alone are called at each step.

A plugin is a module with functions marked `@alignkit.hookimpl`. It is found through the entry point group
`alignkit` of any installed package, or given with `--plugin FILE`. alignkit's own methods register in the
same way.
"""

from collections.abc import Callable

import pluggy

hookspec = pluggy.HookspecMarker("alignkit")
hookimpl = pluggy.HookimplMarker("alignkit")


@hookspec
def register_objectives(register: Callable[..., None]) -> None:
    """Call `register(cls)` for each `Objective` class; recipes name it by `cls.name`.

    @hookimpl
    def register_objectives(register):
        register(Direct)
    """


@hookspec
def register_rewards(register: Callable[..., None]) -> None:
    """Call `register(reward)` for each `Reward` class, with a class attribute `name`, and for each function.

    A function has TRL's signature, `(prompts, completions, **columns) -> list[float | None]`, and may be
    async. `Reward.score` says what else may be returned. `name=` gives a reward another name.

    @hookimpl
    def register_rewards(register):
        register(brevity, name="short")
    """


@hookspec
def register_formats(register: Callable[..., None]) -> None:
    """Call `register(name, matches, parse)` for a layout of data rows.

    `matches(row) -> bool` recognizes a row, a dict. `parse(row) -> alignkit.Example` reads it, and raises
    `alignkit.BadExample(reason)` where the row cannot be used.

    @hookimpl
    def register_formats(register):
        register("hh-rlhf", matches, parse)
    """


@hookspec
def register_models(register: Callable[..., None]) -> None:
    """Call `register(name, locate, parameters=…)` for a model with a short name.

    `locate() -> str` returns a local folder or a hub id. It is called only when the model is loaded.
    `parameters` is how many weights it has: with it, `check` can say how they will be quantized.

    @hookimpl
    def register_models(register):
        register("our-1b", lambda: "our-organization/our-1b-instruct")
    """


@hookspec
def register_samplers(register: Callable[..., None]) -> None:
    """Call `register(cls)` for each `Sampler` class, which draws completions from a role.

    Recipes name it by `cls.name`. `cls.missing()` says why it cannot be used on this machine.

    @hookimpl
    def register_samplers(register):
        register(VllmSampler)
    """


@hookspec
def register_measures(register: Callable[..., None]) -> None:
    """Call `register(name, measure, label=…, unit=…)` for a measure of a policy's completions.

    `measure(samples: alignkit.Samples)` returns one number per prompt, or None where it has none to give;
    `evaluate` shows the mean and its interval. `label` and `unit` stand in tables and
    pictures; without a label the name does. `divergence=True` marks the distance from the reference.

    @hookimpl
    def register_measures(register):
        register("words", lambda samples: [...], label="length", unit="words")
    """


@hookspec
def register_observers(register: Callable[..., None]) -> None:
    """Call `register(cls)` for each `Observer` class, which looks on while a stage trains, and may end it.

    Recipes name it by `cls.name`, in `observers:`.

    @hookimpl
    def register_observers(register):
        register(EarlyStopping)
    """


@hookspec
def register_optimizers(register: Callable[..., None]) -> None:
    """Call `register(cls)` for each `Optimizer` class, which makes the optimizer of a training stage.

    Recipes name it by `cls.name`, in `optimizer:`.

    @hookimpl
    def register_optimizers(register):
        register(LoraPlus)
    """
