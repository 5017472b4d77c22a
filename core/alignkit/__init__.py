"""alignkit: a method is a loss over log-probabilities; everything else is the engine's. This module is the
public API.
"""

from importlib.metadata import version

from pydantic import Field

from alignkit.batch import Batch, Pairs, Rollouts
from alignkit.data.example import BadExample, Example, Group
from alignkit.data.messages import text_of
from alignkit.errors import UserError
from alignkit.evaluation.samples import Samples
from alignkit.hookspecs import hookimpl
from alignkit.objective import (
    Demonstrations,
    Labelled,
    Loss,
    Objective,
    OnlineObjective,
    Preferences,
    Prompts,
    Reward,
    needed_column,
)
from alignkit.sampling.sampler import Drawn, Sampler, Sampling

__version__ = version("alignkit")

__all__ = [
    "BadExample",
    "Batch",
    "Demonstrations",
    "Drawn",
    "Example",
    "Field",
    "Group",
    "Labelled",
    "Loss",
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
