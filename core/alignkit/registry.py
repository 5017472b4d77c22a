"""Finds plugins, holds what they registered under which name, and explains conflicts."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pluggy

from alignkit import hookspecs
from alignkit.api import API_VERSION, require_compatible
from alignkit.errors import UserError, nearest, raised_at
from alignkit.measure import Measure, Metric
from alignkit.objective import Objective
from alignkit.observer import Observer
from alignkit.optimizer import Optimizer
from alignkit.registrable import require_named, require_objective, require_reward
from alignkit.reward import Reward
from alignkit.sampler import Sampler


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
        self.parameters: dict[str, int] = {}  # of registered models, by name, where their plugins say so
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
        require_objective(cls, plugin.name)
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
            require_reward(reward, plugin.name)
        self.rewards.add(plugin, name, reward)

    def _format(
        self, plugin: Plugin, name: str, matches: Callable[..., bool], parse: Callable[..., Any]
    ) -> None:
        self.formats.add(plugin, name, Format(name, matches, parse, plugin=plugin.name))

    def _model(
        self, plugin: Plugin, name: str, locate: Callable[[], Any], *, parameters: int | None = None
    ) -> None:
        self.models.add(plugin, name, locate)
        if parameters is not None:
            self.parameters[name] = parameters

    def _sampler(self, plugin: Plugin, cls: type[Sampler]) -> None:
        require_named(cls, Sampler, plugin.name)
        self.samplers.add(plugin, cls.name, cls)

    def _observer(self, plugin: Plugin, cls: type[Observer]) -> None:
        require_named(cls, Observer, plugin.name)
        self.observers.add(plugin, cls.name, cls)

    def _optimizer(self, plugin: Plugin, cls: type[Optimizer]) -> None:
        require_named(cls, Optimizer, plugin.name)
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
