"""A process-reward model, and REINFORCE against it with the returns of each step.

The model, `prm`: a role of kind value learns whether the steps of a solution are right. With v its value at
the end of a step, which has seen the solution up to there, and c = 1 where the step is right, else 0, the
loss of a step is

    −c·log σ(v) − (1 − c)·log(1 − σ(v)).

Sources: Lightman et al., 2023, arXiv:2305.20050, sec. 2.6; Uesato et al., 2022, arXiv:2211.14275.

The policy, `prm-reinforce`: step j of a sample is rewarded with p_j = σ(v_j), scaled by the mean and the
standard deviation of all steps of its prompt's samples, and a token's advantage is the return, the sum over
the step to which it belongs and the later ones. The loss of a token is

    −A_t · π(y_t | x, y_<t) ÷ π_old(y_t | x, y_<t),  A_t = Σ_{j: e_j ≥ t} (p_j − mean p) ÷ std p,

where e_j is the last token of step j. Source: Shao et al., 2024, arXiv:2402.03300, sec. 4.1.3.

Deviations:

- Lightman et al. label steps as positive, negative or neutral; here a label is one of two.
- Shao et al. clip the ratio and add a divergence to the loss. Here each batch of samples serves one optimizer
  step unless `epochs` and `minibatches` say otherwise, and then the ratio, which is 1, gives REINFORCE.
- They train their model on estimates of whether a step can still lead to the right answer; this one takes
  the labels of the data as they are.
- The value at the end of a sample that was cut off at the length limit has not seen its last token.
"""

from typing import TYPE_CHECKING

from alignkit import (
    Average,
    Batch,
    Field,
    Loss,
    Metric,
    Objective,
    OnlineObjective,
    Prompts,
    Rollouts,
    Stepwise,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor

alignkit_api = "1.0"


class ProcessRewardModel(Objective):
    """Learn which steps of a solution are right (Lightman et al., 2023, arXiv:2305.20050, sec. 2.6)."""

    name = "prm"
    data = Stepwise
    roles = {"prm": "value"}
    trains = {"prm"}
    metrics = {"steps/accuracy": Metric("right and wrong steps that are told apart", "share of steps")}
    until_mistake: bool = Field(
        True, description="learn no step after the first wrong one, because its rightness means little"
    )

    def loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy of σ(value) to the label at the end of each step."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        values, counted = batch.prm_values, batch.step_end  # (N, T)
        if self.until_mistake:
            mistakes = counted * (1 - batch.label)
            counted = counted * (mistakes.cumsum(-1) - mistakes == 0)
        terms = binary_cross_entropy_with_logits(values, batch.label, reduction="none")
        return Loss(terms, counted, {"steps/accuracy": ((values > 0) == (batch.label > 0)).float()})


class ProcessRewardReinforce(OnlineObjective):
    """Reinforce each token by the rewards of its step and later ones (arXiv:2402.03300, sec. 4.1.3)."""

    name = "prm-reinforce"
    data = Prompts
    roles = {"prm": "value"}
    reads = {"prm"}
    rewarded = False
    metrics = {
        "steps/reward": Metric("probability that a step is right"),
        "steps/count": Metric("steps of a sample", detail=True),
    }
    separator: str = Field("\n", min_length=1, description="text that stands between two steps")

    @property
    def step_separator(self):
        """Name the text that stands between two steps."""
        return self.separator

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the steps' rewards, and the advantages of the tokens, (N, T)."""
        ends = rollouts.step_end  # (N, T)
        rewards = rollouts.prm_values.sigmoid() * ends
        count = rollouts.group_sum(ends.sum(-1))  # (N,), steps of all samples of the prompt
        mean = rollouts.group_sum(rewards.sum(-1)) / count
        centred = (rewards - mean[:, None]) * ends
        variance = rollouts.group_sum(centred.square().sum(-1)) / (count - 1).clamp(min=1)
        scaled = centred / (variance.sqrt() + 1e-4)[:, None]
        return rollouts.with_(step_rewards=rewards, advantages=to_come(scaled) * rollouts.mask)

    def loss(self, batch: Batch) -> Loss:
        """Return −A·ratio of every token."""
        ratio = (batch.logps - batch.old_logps).exp()  # (N, T)
        reported = {
            "steps/reward": Average(batch.step_rewards, batch.step_end),
            "steps/count": Average(batch.step_end.sum(-1)),
        }
        return Loss(-batch.advantages * ratio, batch.mask.to(ratio.dtype), reported)


def to_come(values: "Tensor") -> "Tensor":
    """Return, at each token, the sum of `values`, (N, T), from there to the end."""
    return values.flip(-1).cumsum(-1).flip(-1)


@hookimpl
def register_objectives(register):
    """Register the objectives `prm` and `prm-reinforce`."""
    register(ProcessRewardModel)
    register(ProcessRewardReinforce)
