"""Defines alignkit's public API."""

from importlib.metadata import version

from pydantic import Field, model_validator

from alignkit.api import API_VERSION
from alignkit.batch import Batch, Pairs, Prompt
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group, text_of
from alignkit.hookspecs import hookimpl
from alignkit.measure import Metric, Samples
from alignkit.objective import (
    Average,
    Demonstrations,
    Labelled,
    Loss,
    Objective,
    OnlineObjective,
    Preferences,
    Prompts,
    Stepwise,
)
from alignkit.observer import ObservedRollouts, ObservedStage, Observer, Stop
from alignkit.optimizer import Optimizer, TrainedParameter, parameter_groups
from alignkit.reward import Engine, Reward, needed_column
from alignkit.rollouts import Rollouts
from alignkit.sampler import Drawn, Sampler, Sampling
from alignkit.signals import Role
from alignkit.state import State

__version__ = version("alignkit")

__all__ = [
    "API_VERSION",
    "Average",
    "BadExample",
    "Batch",
    "Demonstrations",
    "Drawn",
    "Engine",
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
    "Prompt",
    "Prompts",
    "Reward",
    "Role",
    "Rollouts",
    "Sampler",
    "Samples",
    "Sampling",
    "State",
    "Stepwise",
    "Stop",
    "TrainedParameter",
    "UserError",
    "__version__",
    "hookimpl",
    "model_validator",
    "needed_column",
    "parameter_groups",
    "text_of",
]
