"""Defines alignkit's public API."""

from importlib.metadata import version

from pydantic import Field

from alignkit.api import API_VERSION
from alignkit.batch import Batch, Pairs, Rollouts
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group, text_of
from alignkit.hookspecs import hookimpl
from alignkit.measure import Metric, Samples
from alignkit.objective import (
    Demonstrations,
    Labelled,
    Loss,
    Objective,
    OnlineObjective,
    Preferences,
    Prompts,
)
from alignkit.observer import ObservedRollouts, ObservedStage, Observer, Stop
from alignkit.optimizer import Optimizer, TrainedParameter, parameter_groups
from alignkit.reward import Reward, needed_column
from alignkit.sampler import Drawn, Sampler, Sampling

__version__ = version("alignkit")

__all__ = [
    "API_VERSION",
    "BadExample",
    "Batch",
    "Demonstrations",
    "Drawn",
    "Example",
    "Field",
    "Group",
    "Labelled",
    "Loss",
    "Metric",
    "Objective",
    "ObservedRollouts",
    "ObservedStage",
    "Observer",
    "OnlineObjective",
    "Optimizer",
    "Pairs",
    "Preferences",
    "Prompts",
    "Reward",
    "Rollouts",
    "Sampler",
    "Samples",
    "Sampling",
    "Stop",
    "TrainedParameter",
    "UserError",
    "__version__",
    "hookimpl",
    "needed_column",
    "parameter_groups",
    "text_of",
]
