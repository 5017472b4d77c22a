"""REINFORCE: raises each sampled completion in proportion to its advantage, its return minus a baseline.

Sources: Williams, 1992, https://doi.org/10.1007/BF00992696; with the mean return of a prompt's other samples
as the baseline (RLOO), Ahmadian et al., 2024, arXiv:2402.14740, eq. 8. The return is the score minus β·KL.
The loss of a completion with the advantage A is −A·Σ_t log π(y_t). Where `level` is token, it is
Σ_t −A_t·log π(y_t): every token earns its own −β·KL_t and what a reward gives it, the last one also the
rewards of the whole completion, and A_t counts what is earned from t on.

The KL penalty is part of the reward, so no gradient flows through its estimate. With k1 this is the gradient
of E[score] − β·KL, because k1's own gradient has mean zero. k2 and k3 bias the gradient.

Deviations:

- The moving average starts at the mean of the first batch, although it is then subtracted from the returns of
  that batch, because there is no earlier one.
- A completion without a leave-one-out baseline is left out. This happens where the reward abstained from all
  other samples of its prompt.
- With `clip` the probability ratio is clipped as in PPO, arXiv:1707.06347, eq. 7. Without `clip` only one
  optimizer step per batch of samples is accepted, because after a step they come from an older policy.
"""

from typing import TYPE_CHECKING, Literal

from alignkit import Batch, Field, Loss, Metric, OnlineObjective, Prompts, Rollouts, hookimpl, model_validator

if TYPE_CHECKING:
    from torch import Tensor


class Reinforce(OnlineObjective):
    """Raise samples by their return minus a baseline (Ahmadian et al., 2024, arXiv:2402.14740, eq. 8)."""

    name = "reinforce"
    data = Prompts
    trains = {"policy"}
    metrics = {
        "objective/kl": Metric("KL to the reference", "nats per completion", divergence=True),
        "objective/entropy": Metric("entropy at sampling", "nats per completion", detail=True),
        "objective/scores": Metric("score", detail=True),
        "objective/non_score_reward": Metric("KL penalty as a reward", detail=True),
        "objective/rlhf_reward": Metric("score and KL penalty", detail=True),
        "policy/clipfrac_avg": Metric("clipped probability ratios", "share", detail=True),
    }
    kl_coef: float = Field(
        0.05, ge=0, description="β, strength of the pull towards the reference; 0 means no reference is read"
    )
    kl_estimator: Literal["k1", "k2", "k3"] = Field(
        "k1", description="estimate of the KL divergence; k2 and k3 bias the gradient"
    )
    baseline: Literal["none", "batch-mean", "moving-average", "leave-one-out"] = Field(
        "leave-one-out", description="what is subtracted from a return"
    )
    baseline_decay: float = Field(
        0.9, ge=0, lt=1, description="share of the moving average that each batch of samples keeps"
    )
    level: Literal["sequence", "token"] = Field(
        "sequence", description="one return per completion, or one per token"
    )
    clip: float | None = Field(
        None, gt=0, description="largest distance of the probability ratio from 1; needed for several passes"
    )
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="subtracted from the score of a completion that was cut at the length limit"
    )
    normalize_advantages: bool = Field(
        False, description="scale the advantages of a batch of samples to mean 0 and variance 1"
    )

    @property
    def reads(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Name the reference, where the KL penalty is used."""
        return {"reference"} if self.kl_coef else set()

    @model_validator(mode="after")
    def _options_agree(self):
        if self.baseline == "leave-one-out" and self.samples_per_prompt < 2:
            raise ValueError(
                "baseline: leave-one-out is the mean of a prompt's other samples, and samples_per_prompt is "
                f"{self.samples_per_prompt}; set it to 2 or more, or choose another baseline"
            )
        if self.clip is None and self.epochs * self.minibatches > 1:
            raise ValueError(
                f"epochs × minibatches is {self.epochs * self.minibatches}, and after the first step the "
                "samples come from an older policy; set clip (0.2 is usual), or epochs and minibatches to 1"
            )
        return self

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the advantages, (N,) or (N, T) by `level`, and what is reported per completion."""
        import torch

        penalty = self.missing_eos_penalty * (1 - rollouts.finished)  # (N,)
        scores = rollouts.rewards - penalty
        # (N, T)
        kl = rollouts.token_kl(self.kl_estimator) if self.kl_coef else torch.zeros_like(rollouts.logps)
        returns = scores - self.kl_coef * kl.sum(-1)  # (N,)
        advantages = returns - self._baseline(rollouts, returns)
        if self.level == "token":
            rewards = rollouts.token_rewards - rollouts.at_end(penalty) - self.kl_coef * kl
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
        """Return one term per completion."""
        import torch

        logps, old_logps = batch.logps * batch.mask, batch.old_logps * batch.mask  # (N, T)
        reported = {
            "objective/entropy": -old_logps.sum(-1),
            "objective/non_score_reward": batch.returns - batch.penalized_scores,
            "objective/rlhf_reward": batch.returns,
            "objective/scores": batch.penalized_scores,
        }
        if self.kl_coef:
            reported["objective/kl"] = batch.kl
        if self.level == "sequence":
            logps, old_logps = logps.sum(-1, keepdim=True), old_logps.sum(-1, keepdim=True)  # (N, 1)
        advantages = batch.advantages.reshape(logps.shape)
        if self.clip is None:
            return Loss(-(advantages * logps).sum(-1), metrics=reported)
        ratio = (logps - old_logps).exp()
        kept, bounded = advantages * ratio, advantages * ratio.clamp(1 - self.clip, 1 + self.clip)
        counted = batch.mask.sum(-1) if self.level == "token" else 1
        reported["policy/clipfrac_avg"] = (bounded < kept).sum(-1) / counted
        return Loss(-torch.minimum(kept, bounded).sum(-1), metrics=reported)


@hookimpl
def register_objectives(register):
    """Register the objective `reinforce`."""
    register(Reinforce)
