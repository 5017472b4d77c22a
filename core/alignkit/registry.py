"""Finds plugins, holds what they registered under which name, and explains conflicts."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel

from alignkit import hookspecs
from alignkit.api import API_VERSION, require_compatible
from alignkit.errors import UserError, nearest, raised_at
from alignkit.measure import Measure, Metric
from alignkit.objective import DataKind, Objective, OnlineObjective, Prompts, roles_of
from alignkit.observer import Observer
from alignkit.optimizer import Optimizer
from alignkit.recipe.named import Named
from alignkit.recipe.verbs import RewardTerm, Term
from alignkit.reward import Reward
from alignkit.sampler import Sampler
from alignkit.signals import KINDS, Role


@dataclass(frozen=True)
class Plugin:
    """One plugin: `source` is the package and version that brought it, or the file."""

    name: str
    source: str
    file: str


@dataclass(frozen=True)
class Format:
    """A layout of data rows, see `hookspecs.register_formats`.

    columns: those by which it is recognized, for messages; empty where a plugin decides in another way.
    plugin: the name of the plugin that registered it, for messages; empty for the built-in formats.
    """

    name: str
    matches: Callable[[dict[str, Any]], bool]
    parse: Callable[[dict[str, Any]], Any]
    columns: tuple[str, ...] = ()
    plugin: str = ""


@dataclass
class Shelf:
    """Holds the registered things of one kind by name. Two of the same name are an error."""

    kind: str
    items: dict[str, Any] = field(default_factory=dict)
    owners: dict[str, Plugin] = field(default_factory=dict)

    def add(self, plugin: Plugin, name: str, item: Any) -> None:
        """Register `item`. Raises UserError, naming both plugins, where the name is taken."""
        if name in self.items:
            raise UserError(
                f"two plugins register the {self.kind} {name!r}: {self.owners[name].source} and "
                f"{plugin.source}",
                hint="Uninstall one of them, or rename what it registers.",
            )
        self.items[name], self.owners[name] = item, plugin

    def get(self, name: str, where: str | None = None) -> Any:
        """Return what is registered as `name`.

        Raises UserError with the nearest name, at the key path `where`.
        """
        if name not in self.items:
            raise UserError(
                f"no {self.kind} is registered as {name!r}", where=where, hint=nearest(name, self.items)
            )
        return self.items[name]

    def source_hash(self, name: str) -> str:
        """Return the SHA-256 of the file that registered `name`: a stage is run again when it changed."""
        return hashlib.sha256(Path(self.owners[name].file).read_bytes()).hexdigest()


class Registry:
    """What all plugins registered, on one shelf for each kind."""

    def __init__(self, files: list[Path] | None = None) -> None:
        self.objectives, self.rewards = Shelf("objective"), Shelf("reward")
        self.formats, self.models = Shelf("format"), Shelf("model")
        self.samplers, self.measures = Shelf("sampler"), Shelf("measure")
        self.observers, self.optimizers = Shelf("observer"), Shelf("optimizer")
        self.shelves = (
            self.objectives,
            self.rewards,
            self.formats,
            self.models,
            self.samplers,
            self.measures,
            self.observers,
            self.optimizers,
        )
        self.plugins: list[Plugin] = []
        self.manager = pluggy.PluginManager("alignkit")
        self.manager.add_hookspecs(hookspecs)
        for entry in sorted(entry_points(group="alignkit"), key=lambda entry: entry.name):
            distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            self._load(entry.name, distribution, entry.load)
        for path in dict.fromkeys(files or []):
            self._load(path.stem, str(path), partial(_import_file, path), key=str(path))

    def _load(self, name: str, source: str, load: Callable[[], Any], *, key: str | None = None) -> None:
        """Load a plugin and let it register.

        key: identifies the plugin; None means its name. A file may have the name of an installed plugin.
        """
        try:
            module = load()
            require_compatible(module, f"plugin {name!r} ({source})")
            self.manager.register(module, name=key or name)
            plugin = Plugin(name, source, inspect.getfile(module))
            self._register(plugin, module)
        except UserError:
            raise
        except Exception as error:
            # What a plugin for a later version imports is missing before anything of it can be read.
            missing = isinstance(error, ImportError) and error.name in ("alignkit", "alignkit.testing")
            raise UserError(
                f"plugin {name!r} ({source}) does not load: {type(error).__name__}: {error} "
                f"({raised_at(error)})",
                hint=f"This alignkit has version {API_VERSION} of the API: upgrade alignkit, or the plugin, "
                "whichever is older."
                if missing
                else "Fix the plugin, or uninstall the package that brings it.",
            ) from error
        self.plugins.append(plugin)

    def _register(self, plugin: Plugin, module: Any) -> None:
        """Call the plugin's hooks. Raises UserError for a hook that does not exist."""
        registers = {
            "register_objectives": self._objective,
            "register_rewards": self._reward,
            "register_formats": self._format,
            "register_models": self._model,
            "register_samplers": self._sampler,
            "register_measures": self._measure,
            "register_observers": self._observer,
            "register_optimizers": self._optimizer,
        }
        hooks = {caller.name: caller for caller in self.manager.get_hookcallers(module) or []}
        for name in sorted(hooks.keys() - registers.keys()):
            if not all(implementation.optionalhook for implementation in hooks[name].get_hookimpls()):
                raise UserError(
                    f"plugin {plugin.name!r} ({plugin.source}): no hook is called {name!r}",
                    hint=nearest(name, registers),
                )
        for name, register in registers.items():
            for implementation in hooks[name].get_hookimpls() if name in hooks else ():
                if implementation.plugin is module:
                    implementation.function(partial(register, plugin))

    def _objective(self, plugin: Plugin, cls: type[Objective]) -> None:
        require_objective(cls, plugin)
        self.objectives.add(plugin, cls.name, cls)

    def _reward(
        self, plugin: Plugin, reward: type[Reward] | Callable[..., Any], *, name: str | None = None
    ) -> None:
        name = name or getattr(reward, "name", None) or getattr(reward, "__name__", None)
        is_reward = issubclass(reward, Reward) if isinstance(reward, type) else callable(reward)
        if not isinstance(name, str) or not is_reward:
            raise UserError(
                f"plugin {plugin.name!r} registers {reward!r} as a reward; a subclass of alignkit.Reward, or "
                "a function with a name, is expected"
            )
        if isinstance(reward, type):
            require_reward(reward, plugin)
        self.rewards.add(plugin, name, reward)

    def _format(
        self, plugin: Plugin, name: str, matches: Callable[..., bool], parse: Callable[..., Any]
    ) -> None:
        self.formats.add(plugin, name, Format(name, matches, parse, plugin=plugin.name))

    def _model(self, plugin: Plugin, name: str, locate: Callable[[], Any]) -> None:
        self.models.add(plugin, name, locate)

    def _sampler(self, plugin: Plugin, cls: type[Sampler]) -> None:
        require_named(cls, Sampler, plugin)
        self.samplers.add(plugin, cls.name, cls)

    def _observer(self, plugin: Plugin, cls: type[Observer]) -> None:
        require_named(cls, Observer, plugin)
        self.observers.add(plugin, cls.name, cls)

    def _optimizer(self, plugin: Plugin, cls: type[Optimizer]) -> None:
        require_named(cls, Optimizer, plugin)
        self.optimizers.add(plugin, cls.name, cls)

    def _measure(
        self,
        plugin: Plugin,
        name: str,
        measure: Callable[..., Any],
        *,
        label: str | None = None,
        unit: str = "",
        divergence: bool = False,
    ) -> None:
        metric = Metric(label or name, unit, divergence=divergence)
        self.measures.add(plugin, name, Measure(name, measure, metric, plugin.name))


def require_objective(cls: Any, plugin: Plugin) -> None:
    """Refuse a class that could not be trained, with the declaration it lacks."""
    if not (isinstance(cls, type) and issubclass(cls, Objective)):
        raise UserError(
            f"plugin {plugin.name!r} registers {cls!r} as an objective; a subclass of "
            "alignkit.Objective is expected"
        )
    label = f"objective {cls.__name__} of plugin {plugin.name!r}"
    if not isinstance(getattr(cls, "name", None), str):
        raise UserError(f'{label} has no name; add `name = "…"`')
    if not (isinstance(getattr(cls, "data", None), type) and issubclass(cls.data, DataKind)):
        raise UserError(
            f"{label} declares no data; add `data = Preferences` (or Demonstrations, Labelled, Stepwise, "
            "Prompts)"
        )
    require_roles(cls, label)
    if issubclass(cls.data, Prompts) and not issubclass(cls, OnlineObjective):
        raise UserError(
            f"{label} has data = Prompts; an OnlineObjective learns from Prompts, other objectives do not",
            hint="Derive it from OnlineObjective, for which the policy writes completions, or declare other "
            "data.",
        )
    require_free_names(cls, Term, label)
    require_metrics(cls, label)


def require_roles(cls: type[Objective], label: str) -> None:
    """Refuse roles that are not declared, or declared as something unknown. label: the objective's.

    What a property decides is known only when the objective is made.
    """
    if isinstance(cls.roles, property):
        return
    for name, role in cls.roles.items():
        kind = role.kind if isinstance(role, Role) else role
        if kind not in KINDS:
            raise UserError(f"{label} declares the role {name!r} as {kind!r}", hint=nearest(str(kind), KINDS))
    known = roles_of(cls)
    for declaration in ("trains", "reads"):
        declared = getattr(cls, declaration)
        for role in () if isinstance(declared, property) else declared:
            if role not in known:
                raise UserError(
                    f"{label} {declaration} the unknown role {role!r}",
                    hint=f'Declare it: roles = {{"{role}": "language-model"}}. {nearest(role, known)}',
                )


def require_reward(cls: type[Reward], plugin: Plugin) -> None:
    """Refuse a class whose options a recipe could not set, and one that could not take the engine it uses."""
    label = f"reward {cls.__name__} of plugin {plugin.name!r}"
    require_free_names(cls, RewardTerm, label)
    uses = cls.uses
    if "uses" in cls.model_fields or isinstance(uses, str) or not isinstance(uses, Set):
        raise UserError(f"{label}: `uses` is {uses!r}; a set of roles is expected, such as {{'policy'}}")
    parameters = inspect.signature(cls.score).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if uses and "engine" not in parameters and not takes_any:
        raise UserError(
            f"{label} uses {', '.join(sorted(uses))}, and its `score` takes no `engine`",
            hint="Write def score(self, prompts, completions, engine, **columns).",
        )


def require_free_names(cls: type[BaseModel], term: type[Named], label: str) -> None:
    """Refuse a field with the name of a key that a recipe writes beside it, as the recipe would keep it.

    term: what a recipe names the class in. label: the class, for messages.
    """
    for name in sorted(cls.model_fields.keys() & term.settings().keys()):
        raise UserError(
            f"{label} has the option {name!r}, which is a key of the recipe: no recipe could set the option",
            hint=f"Give the field of {cls.__name__} another name, such as {cls.__name__.lower()}_{name}.",
        )


def require_metrics(cls: type[Objective], label: str) -> None:
    """Refuse `metrics` that do not say how each number is called. label: the objective's, for messages."""
    declared = cls.__dict__.get("metrics", {})
    if "metrics" in cls.model_fields or not isinstance(declared, Mapping):
        raise UserError(
            f"{label}: `metrics` must be a mapping of its metrics' names",
            hint='Write metrics: ClassVar[Mapping[str, Metric]] = {"margin": Metric("margin", "nats")}',
        )
    for name, metric in declared.items():
        if not isinstance(metric, Metric) or not metric.label:
            raise UserError(
                f"{label}: the metric {name!r} is {metric!r}; a Metric with a label is expected",
                hint=f'Write {name!r}: Metric("{name}", "its unit")',
            )


def require_named(cls: Any, base: type, plugin: Plugin) -> None:
    """Refuse what is not a subclass of `base` with a name."""
    kind = base.__name__.lower()
    if not (isinstance(cls, type) and issubclass(cls, base)):
        article = "an" if kind[0] in "aeiou" else "a"
        raise UserError(
            f"plugin {plugin.name!r} registers {cls!r} as {article} {kind}; a subclass of "
            f"alignkit.{base.__name__} is expected"
        )
    if not isinstance(getattr(cls, "name", None), str):
        raise UserError(f'{kind} {cls.__name__} of plugin {plugin.name!r} has no name; add `name = "…"`')


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(
            f"the plugin file {str(path)!r} does not exist", hint="--plugin takes the path of a Python file."
        )
    # A name of its own: a file called like an installed module must not take that module's place.
    name = f"_alignkit_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(
            f"the plugin file {str(path)!r} is not a Python file",
            hint="--plugin takes the path of a Python file.",
        )
    # This is where pickle and inspect look for what the file defines.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
