"""What a method author writes: an objective, its loss, a reward. Nothing here imports torch, so that
`alignkit check` is quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from alignkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from alignkit.batch import Batch, Rollouts

ROLES = ("policy", "reference", "reward", "value")


class Data:
    """What an objective learns from. Its subclasses are names; `alignkit.data` knows how to make each from a
    file.
    """


class Demonstrations(Data):
    """One completion a prompt, to imitate. Of ranked completions, the best one."""


class Preferences(Data):
    """Two or more completions a prompt, ranked: column `rank`, lower is better, ties allowed."""


class Labelled(Data):
    """Completions each judged good or bad by itself: column `label`, 1 or 0."""


class Prompts(Data):
    """Prompts alone; the policy writes the completions."""


@dataclass(frozen=True)
class Loss:
    """What `Objective.loss` returns. The engine minimises Σ weight·terms ÷ Σ weight over the whole optimizer
    step.

    terms: a tensor of any shape. weight: the same shape, 1 each where None; for a per-token loss pass the
    mask. metrics: tensors to average, by `weight` where the shapes agree, plainly otherwise.
    """

    terms: Tensor
    weight: Tensor | None = None
    metrics: Mapping[str, Tensor] | None = None


class Objective(BaseModel):
    """A method: which data it learns from, which roles it trains and reads, and its loss.

    Pydantic fields of a subclass are the options that a recipe may set. `trains` and `reads` may be
    properties where an option decides.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]
    data: ClassVar[type[Data]]
    trains: ClassVar[Set[str]] = frozenset({"policy"})
    reads: ClassVar[Set[str]] = frozenset()
    entropy: ClassVar[bool] = False
    _state: dict[str, float] = PrivateAttr(default_factory=dict)

    @property
    def state(self) -> dict[str, float]:
        """Numbers to remember between steps; checkpoints carry them."""
        return self._state

    def loss(self, batch: Batch) -> Loss:
        """The loss of a micro-batch, with gradient in the signals of the trained roles."""
        raise NotImplementedError(f"{type(self).__name__} defines no `loss`")


class OnlineObjective(Objective):
    """A method that learns from the policy's own samples, `epochs` times `minibatches` optimizer steps from
    each batch of them.
    """

    samples_per_prompt: int = Field(4, ge=1, description="completions sampled for each prompt")
    epochs: int = Field(1, ge=1, description="passes over each batch of samples")
    minibatches: int = Field(
        1, ge=1, description="optimizer steps of each pass; a minibatch holds whole prompts"
    )

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """What `loss` will need, computed once for each batch of rollouts, without gradient."""
        return rollouts


class Reward(BaseModel):
    """Scores completions. Fields of a subclass are options; plain functions with `score`'s signature register
    too.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    name: ClassVar[str]

    def score(self, prompts: list[Any], completions: list[Any], **columns: list[Any]) -> list[float | None]:
        """One number a completion, higher is better; None abstains. Conversations come as lists of messages.

        columns: the data's other columns, None where a row has none, and `completion_ids`, the completions'
        token ids.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no `score`")


def needed_column(columns: Mapping[str, list[Any]], name: str, reward: str) -> list[Any]:
    """The data's column `name`, one entry a completion. Raises UserError with the columns there are where it
    is missing.
    """
    if name not in columns:
        raise UserError(
            f"it needs the data's column {name!r}, which is missing; found: "
            f"{', '.join(sorted(columns)) or 'none'}",
            where=f"reward {reward!r}",
            hint=f"Say which it is with the reward's option `column`, or with `rename: {{FOUND: {name}}}` "
            "in the recipe's data entry.",
        )
    return columns[name]
