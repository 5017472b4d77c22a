"""Proximal policy optimization: makes several passes over the samples, with clipped ratios and a value model.

Sources: the clipped loss, Schulman et al., 2017, arXiv:1707.06347, eq. 7; the advantages, Schulman et al.,
2015, arXiv:1506.02438, eq. 16; the reward, −β·KL_t at each token and the score at the last one, with β
adapted to a target, Ziegler et al., 2019, arXiv:1909.08593, sec. 2.2. The clipped value loss and the
whitening are those that Huang et al., 2024, arXiv:2403.17031, found to matter.

Deviations:

- β is multiplied by exp(x), not by 1 + x as in Ziegler et al.: for their small x it is the same, and it is
  positive for any x.
- Advantages are whitened once for the whole batch of samples, not for each minibatch, so that the result does
  not depend on how the batch is cut.
- A completion that was cut at the length limit counts as ended: what would have followed is worth 0.
"""

import math
from typing import TYPE_CHECKING, Literal

from alignkit import (
    Average,
    Batch,
    Field,
    Loss,
    Metric,
    OnlineObjective,
    Prompts,
    Rollouts,
    hookimpl,
    model_validator,
)

if TYPE_CHECKING:
    from torch import Tensor


class ProximalPolicyOptimization(OnlineObjective):
    """Clip each token's probability ratio, with a KL penalty and a value model (arXiv:1707.06347, eq. 7)."""

    name = "ppo"
    data = Prompts
    trains = {"policy", "value"}
    metrics = {
        "loss/policy_avg": Metric("policy loss"),
        "loss/value_avg": Metric("value loss"),
        "objective/kl": Metric("KL to the reference", "nats per completion", divergence=True),
        "objective/kl_coef": Metric("strength of the KL penalty", detail=True),
        "objective/entropy": Metric("entropy at sampling", "nats per completion", detail=True),
        "objective/scores": Metric("score", detail=True),
        "objective/non_score_reward": Metric("KL penalty as a reward", detail=True),
        "objective/rlhf_reward": Metric("score and KL penalty", detail=True),
        "policy/approxkl_avg": Metric("KL to the policy at sampling", "nats per token", detail=True),
        "policy/clipfrac_avg": Metric("clipped probability ratios", "share of tokens", detail=True),
        "policy/entropy_avg": Metric("entropy of the policy", "nats per token", detail=True),
        "val/clipfrac_avg": Metric("clipped values", "share of tokens", detail=True),
        "val/ratio": Metric("probability ratio to the policy at sampling", detail=True),
    }
    samples_per_prompt: int = Field(1, ge=1, description="completions sampled per prompt")
    epochs: int = Field(4, ge=1, description="passes over each batch of samples")
    kl_coef: float = Field(
        0.05, ge=0, description="β, strength of the pull towards the reference; 0 means no reference is read"
    )
    kl_estimator: Literal["k1", "k3"] = Field(
        "k1", description="estimate of the KL divergence; k3 biases the gradient"
    )
    kl_target: float | None = Field(
        None, gt=0, description="KL divergence per completion, in nats, to which β is adapted"
    )
    kl_horizon: float = Field(10_000, gt=0, description="number of completions over which β is adapted")
    gamma: float = Field(1.0, gt=0, le=1, description="γ, discount of a reward per token of distance")
    lam: float = Field(
        0.95, ge=0, le=1, description="λ of the advantages: 0 uses the value model, 1 the sampled returns"
    )
    cliprange: float = Field(0.2, gt=0, description="largest distance of the probability ratio from 1")
    cliprange_value: float = Field(
        0.2, gt=0, description="largest distance of a value from its value at sampling"
    )
    vf_coef: float = Field(0.1, ge=0, description="weight of the value loss")
    entropy_coef: float = Field(0.0, ge=0, description="weight of an added reward for the policy's entropy")
    whiten_rewards: bool = Field(False, description="scale the rewards of the tokens to variance 1")
    whiten_advantages: bool = Field(True, description="scale the advantages to mean 0 and variance 1")
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="subtracted from the score of a completion that was cut at the length limit"
    )

    @property
    def reads(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Name the reference, where the KL penalty is used."""
        return {"reference"} if self.kl_coef else set()

    @property
    def entropy(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Ask for the entropy only where it is used, as it costs a pass over the vocabulary."""
        return self.entropy_coef > 0

    @model_validator(mode="after")
    def _options_agree(self):
        if self.kl_target is not None and not self.kl_coef:
            raise ValueError(
                "kl_target multiplies kl_coef, and kl_coef is 0, so it would stay 0; set kl_coef to a "
                "positive number, such as 0.05"
            )
        return self

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add advantages and returns (N, T), the values at sampling, and what is reported per completion."""
        import torch

        kl_coef = self.state.get("kl_coef", self.kl_coef)
        penalty = self.missing_eos_penalty * (1 - rollouts.finished)  # (N,)
        scores = rollouts.rewards - penalty
        # (N, T)
        kl = rollouts.token_kl(self.kl_estimator) if self.kl_coef else torch.zeros_like(rollouts.logps)
        rewards = rollouts.token_rewards - rollouts.at_end(penalty) - kl_coef * kl
        if self.whiten_rewards:
            rewards = rollouts.whitened(rewards, shift=False)
        advantages = gae(rewards, rollouts.values, rollouts.mask, self.gamma, self.lam)
        returns = advantages + rollouts.values * rollouts.mask
        if self.whiten_advantages:
            advantages = rollouts.whitened(advantages)
        kl = kl.sum(-1)  # (N,)
        if self.kl_target is not None:
            error = min(max(float(kl.mean()) / self.kl_target - 1, -0.2), 0.2)
            self.state["kl_coef"] = kl_coef * math.exp(error * len(rollouts) / self.kl_horizon)
        return rollouts.with_(
            advantages=advantages,
            returns=returns,
            old_values=rollouts.values,
            kl=kl,
            kl_coef=torch.full_like(kl, kl_coef),
            penalized_scores=scores,
        )

    def loss(self, batch: Batch) -> Loss:
        """Return one term per completion token, the sum of policy loss, value loss and entropy."""
        import torch

        log_ratio = (batch.logps - batch.old_logps) * batch.mask  # (N, T)
        ratio = log_ratio.exp()
        kept = batch.advantages * ratio
        bounded = batch.advantages * ratio.clamp(1 - self.cliprange, 1 + self.cliprange)
        policy_loss = -torch.minimum(kept, bounded)
        near = batch.old_values + (batch.values - batch.old_values).clamp(
            -self.cliprange_value, self.cliprange_value
        )
        error, near_error = (batch.values - batch.returns).square(), (near - batch.returns).square()
        value_loss = 0.5 * torch.maximum(error, near_error)
        terms = policy_loss + self.vf_coef * value_loss
        reported = {
            "loss/policy_avg": policy_loss,
            "loss/value_avg": value_loss,
            "objective/entropy": Average(-(batch.old_logps * batch.mask).sum(-1)),
            "objective/kl_coef": Average(batch.kl_coef),
            "objective/non_score_reward": Average(-batch.kl_coef * batch.kl),
            "objective/rlhf_reward": Average(batch.penalized_scores - batch.kl_coef * batch.kl),
            "objective/scores": Average(batch.penalized_scores),
            "policy/approxkl_avg": 0.5 * log_ratio.square(),
            "policy/clipfrac_avg": (bounded < kept).float(),
            "val/clipfrac_avg": (near_error > error).float(),
            "val/ratio": ratio,
        }
        if self.kl_coef:
            reported["objective/kl"] = Average(batch.kl)
        if self.entropy_coef:
            terms = terms - self.entropy_coef * batch.entropy
            reported["policy/entropy_avg"] = batch.entropy
        return Loss(terms, batch.mask.to(terms.dtype), reported)


def gae(rewards: "Tensor", values: "Tensor", mask: "Tensor", gamma: float, lam: float) -> "Tensor":
    """Return generalized advantage estimates (N, T) of rewards and values (N, T), zero outside the mask.

    δ_t = r_t + γ·V_(t+1) − V_t and A_t = δ_t + γλ·A_(t+1), where t + 1 is the completion's next token. After
    its last token V and A are 0.
    """
    import torch

    advantages = torch.zeros_like(values)
    value_after = advantage_after = torch.zeros_like(values[:, 0])  # (N,)
    for t in reversed(range(values.shape[1])):
        advantage = rewards[:, t] + gamma * value_after - values[:, t] + gamma * lam * advantage_after
        advantage_after = torch.where(mask[:, t], advantage, advantage_after)
        value_after = torch.where(mask[:, t], values[:, t], value_after)
        advantages[:, t] = torch.where(mask[:, t], advantage, 0.0)
    return advantages


@hookimpl
def register_objectives(register):
    """Register the objective `ppo`."""
    register(ProximalPolicyOptimization)
