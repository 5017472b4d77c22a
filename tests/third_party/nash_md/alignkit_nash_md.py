"""Nash learning by mirror descent: raises samples that win against a mixture of the policy and the reference.

Source: Munos et al., 2023, arXiv:2312.00886, sec. 7 (Nash-MD-PG). With the reference μ, y ~ π, and y' of the
mixture π_β, the gradient that the policy follows is that of

    −(P(y ≻ y') − ½ − τ·log[π(y)/μ(y)])·log π(y),  nothing but log π(y) with gradient.

Deviations:

- π_β is (1 − β)·π + β·μ, a mixture of whole completions, so that samples of both roles are enough. The paper
  mixes π^(1−β)·μ^β at each token. At β = 0 and β = 1 both are the same. The expectation over π_β is
  taken exactly over the prompt's samples: the other samples of the policy and those of the reference.
- P(y ≻ y') = σ(R(y) − R(y')), the Bradley-Terry model of the stage's rewards, instead of a model of
  preferences that reads both completions.
"""

from alignkit import Batch, Field, Loss, Metric, OnlineObjective, Prompts, Rollouts, hookimpl

alignkit_api = "1.0"


class NashMirrorDescent(OnlineObjective):
    """Win against a mixture of the policy and the reference (Munos et al., 2023, arXiv:2312.00886)."""

    name = "nash-md"
    data = Prompts
    reads = {"reference"}
    metrics = {
        "objective/kl": Metric("KL to the reference", "nats per completion", divergence=True),
        "objective/wins": Metric("probability to win against the mixture", "share"),
    }
    epochs: int = Field(1, ge=1, le=1, description="always 1: the policy learns from its own samples")
    minibatches: int = Field(1, ge=1, le=1, description="always 1, for the same reason")
    opponents: int = Field(2, ge=1, description="completions of the reference sampled for each prompt")
    mixture: float = Field(0.125, ge=0, le=1, description="β, share of the reference in the mixture")
    tau: float = Field(0.01, ge=0, description="τ, strength of the pull towards the reference")

    @property
    def samples_from(self):
        """Sample from both roles of the mixture."""
        return {"policy": self.samples_per_prompt, "reference": self.opponents}

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the advantages, (N,), and keep the policy's own samples."""
        own = rollouts.sampled_from("policy")  # (N,)
        others = (rollouts.group[:, None] == rollouts.group).float().fill_diagonal_(0)  # (N, N)
        wins = (rollouts.rewards[:, None] - rollouts.rewards).sigmoid()  # (N, N)
        weight = 0
        for share, of_source in ((1 - self.mixture, others * own), (self.mixture, others * ~own)):
            weight = weight + share * of_source / of_source.sum(-1, keepdim=True).clamp(min=1)
        wins = (weight * wins).sum(-1) / weight.sum(-1)  # (N,); without an opponent 0 ÷ 0
        kl = rollouts.token_kl().sum(-1)
        rollouts = rollouts.with_(advantages=wins - 0.5 - self.tau * kl, wins=wins, kl=kl)
        return rollouts.select(own & ~wins.isnan())

    def loss(self, batch: Batch) -> Loss:
        """Return one term for each completion."""
        terms = -batch.advantages * (batch.logps * batch.mask).sum(-1)  # (N,)
        return Loss(terms, metrics={"objective/kl": batch.kl, "objective/wins": batch.wins})


@hookimpl
def register_objectives(register):
    """Register the objective `nash-md`."""
    register(NashMirrorDescent)
