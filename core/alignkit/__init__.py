"""Defines alignkit's public API."""

from importlib.metadata import version

from pydantic import Field

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
from alignkit.reward import Engine, Reward, needed_column
from alignkit.sampler import Drawn, Sampler, Sampling

__version__ = version("alignkit")

__all__ = [
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
    "OnlineObjective",
    "Pairs",
    "Preferences",
    "Prompts",
    "Reward",
    "Rollouts",
    "Sampler",
    "Samples",
    "Sampling",
    "UserError",
    "__version__",
    "hookimpl",
    "needed_column",
    "text_of",
]
