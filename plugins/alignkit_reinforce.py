"""REINFORCE: raise each sampled completion by how much its return, the reward less β·KL, exceeds a baseline.

Sources: Williams, 1992, https://doi.org/10.1007/BF00992696; with the mean return of a prompt's other samples
as baseline (RLOO): Ahmadian et al., 2024, arXiv:2402.14740, eq. 8. The loss of a completion is −A·Σ_t log
π(y_t), or Σ_t −A_t·log π(y_t) where `level` is token: there every token earns its own −β·KL_t, the last one
the score too, and A_t counts what is earned from t on.

The divergence is part of the reward, so no gradient flows through its estimate. With k1 that is the gradient
of E[score] − β·KL, because k1's own gradient has mean zero; with k2 and k3 it is not, they bias the gradient.

Deviations: the moving average starts at the first batch's mean, which belongs to the samples it is subtracted
from. A completion whose siblings the reward all left out has no leave-one-out baseline, and is left out too.
The clipped ratio is PPO's, arXiv:1707.06347, eq. 7; without `clip` only one pass over the samples is
accepted, since after a step they are an older policy's.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from alignkit import Batch, Field, Loss, OnlineObjective, Prompts, Rollouts, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class Reinforce(OnlineObjective):
    """REINFORCE with a KL penalty and a baseline, leave-one-out unless told otherwise (Ahmadian et al., 2024,
    arXiv:2402.14740).
    """

    name = "reinforce"
    data = Prompts
    trains = {"policy"}
    kl_coef: float = Field(
        0.05, ge=0, description="β, strength of the pull towards the reference; 0 reads no reference"
    )
    kl_estimator: Literal["k1", "k2", "k3"] = Field(
        "k1", description="estimate of the divergence; k2 and k3 bias the gradient"
    )
    baseline: Literal["none", "batch-mean", "moving-average", "leave-one-out"] = Field(
        "leave-one-out", description="what is subtracted from a return"
    )
    baseline_decay: float = Field(
        0.9, ge=0, lt=1, description="of the moving average: how much of it stays at each batch of samples"
    )
    level: Literal["sequence", "token"] = Field(
        "sequence", description="one return a completion, or one from each token on"
    )
    clip: float | None = Field(
        None, gt=0, description="bound of the probability ratio's distance from 1, for several passes"
    )
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="taken off the score of a completion that was cut"
    )
    normalize_advantages: bool = Field(
        False, description="bring a batch's advantages to mean 0 and variance 1"
    )

    @property
    def reads(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The reference, if the divergence counts."""
        return {"reference"} if self.kl_coef else set()

    @model_validator(mode="after")
    def _options_agree(self):
        if self.baseline == "leave-one-out" and self.samples_per_prompt < 2:
            raise ValueError(
                "baseline: leave-one-out is the mean of a prompt's other samples, and samples_per_prompt "
                f"is {self.samples_per_prompt}; "
                "2 or more are needed, or another baseline"
            )
        if self.clip is None and self.epochs * self.minibatches > 1:
            raise ValueError(
                f"epochs × minibatches is {self.epochs * self.minibatches}, and after the first step the "
                "samples are an older policy's; "
                "set clip (0.2 is usual), or epochs and minibatches to 1"
            )
        return self

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Advantages, (N,) or (N, T) by `level`, and what to report of each completion."""
        import torch

        scores = rollouts.rewards - self.missing_eos_penalty * (1 - rollouts.finished)  # (N,)
        # (N, T)
        kl = rollouts.token_kl(self.kl_estimator) if self.kl_coef else torch.zeros_like(rollouts.logps)
        returns = scores - self.kl_coef * kl.sum(-1)  # (N,)
        advantages = returns - self._baseline(rollouts, returns)
        if self.level == "token":
            rewards = rollouts.at_end(scores) - self.kl_coef * kl
            earned_before = rewards.cumsum(-1) - rewards
            advantages = (advantages[:, None] - earned_before) * rollouts.mask
        rollouts = rollouts.with_(
            advantages=advantages, kl=kl.sum(-1), penalized_scores=scores, returns=returns
        )
        if self.baseline == "leave-one-out":
            has_siblings = torch.bincount(rollouts.group)[rollouts.group] > 1
            rollouts = rollouts.select(has_siblings.nonzero().squeeze(-1))
        if self.normalize_advantages:
            rollouts = rollouts.with_(advantages=rollouts.whitened(rollouts.advantages))
        return rollouts

    def _baseline(self, rollouts: Rollouts, returns: "Tensor") -> "Tensor | float":
        if self.baseline == "leave-one-out":
            return rollouts.other_mean(returns)
        if self.baseline == "none":
            return 0.0
        mean = float(returns.mean())
        if self.baseline == "batch-mean":
            return mean
        average = self.state.get("baseline", mean)
        self.state["baseline"] = self.baseline_decay * average + (1 - self.baseline_decay) * mean
        return average

    def loss(self, batch: Batch) -> Loss:
        """One term a completion."""
        import torch

        logps, old_logps = batch.logps * batch.mask, batch.old_logps * batch.mask  # (N, T)
        metrics = {
            "objective/entropy": -old_logps.sum(-1),
            "objective/non_score_reward": batch.returns - batch.penalized_scores,
            "objective/rlhf_reward": batch.returns,
            "objective/scores": batch.penalized_scores,
        }
        if self.kl_coef:
            metrics["objective/kl"] = batch.kl
        if self.level == "sequence":
            logps, old_logps = logps.sum(-1, keepdim=True), old_logps.sum(-1, keepdim=True)  # (N, 1)
        advantages = batch.advantages.reshape(logps.shape)
        if self.clip is None:
            return Loss(-(advantages * logps).sum(-1), metrics=metrics)
        ratio = (logps - old_logps).exp()
        kept, bounded = advantages * ratio, advantages * ratio.clamp(1 - self.clip, 1 + self.clip)
        counted = batch.mask.sum(-1) if self.level == "token" else 1
        metrics["policy/clipfrac_avg"] = (bounded < kept).sum(-1) / counted
        return Loss(-torch.minimum(kept, bounded).sum(-1), metrics=metrics)


@hookimpl
def register_objectives(register):
    """Register `reinforce`."""
    register(Reinforce)
