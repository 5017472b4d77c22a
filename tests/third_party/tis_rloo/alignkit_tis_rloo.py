"""Leave-one-out REINFORCE with truncated importance sampling between the sampler and the trainer.

A fast sampler computes other probabilities q than the trainer's π_old for the same weights, so its samples
are off-policy. Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training",
weigh each token by how much likelier it is to the trainer, at most C. With the leave-one-out advantage of
Ahmadian et al., 2024, arXiv:2402.14740, eq. 8, the loss of a completion is

    −A·Σ_t w_t·π(y_t)/π_old(y_t),  w_t = min(π_old(y_t)/q(y_t), C),  A = R − mean of the other samples' R,

without gradient through w_t and A. At the first step after sampling π = π_old, and the gradient is that of
−A·Σ_t w_t·log π(y_t).

Deviations:

- q and π_old are both those of temperature 1, whatever the temperature of sampling: what is corrected is the
  difference between the two programs.
- The reward has no divergence from the reference, which is not read.
- A completion without a baseline is left out. This happens where the reward abstained from all other samples
  of its prompt.
"""

from alignkit import Average, Batch, Field, Loss, Metric, OnlineObjective, Prompts, Rollouts, hookimpl

alignkit_api = "1.0"


class CorrectedLeaveOneOut(OnlineObjective):
    """Weigh each token by π_old/q, at most C (Yao et al., 2025; Ahmadian et al., 2024, arXiv:2402.14740)."""

    name = "tis-rloo"
    data = Prompts
    metrics = {
        "sampler/weight": Metric("weight of a token between sampler and trainer", detail=True),
        "sampler/truncated": Metric("truncated weights", "share of tokens", detail=True),
    }
    samples_per_prompt: int = Field(4, ge=2, description="completions sampled for each prompt")
    cap: float = Field(2.0, gt=0, description="C, greatest weight of a token")

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the advantages, (N,)."""
        rollouts = rollouts.with_(advantages=rollouts.rewards - rollouts.other_mean(rollouts.rewards))
        return rollouts.select(rollouts.group_size(rollouts.rewards) > 1)

    def loss(self, batch: Batch) -> Loss:
        """Return one term for each completion."""
        apart = ((batch.old_logps - batch.sampler_logps) * batch.mask).exp()  # (N, T), without gradient
        weight = apart.clamp(max=self.cap)
        ratio = ((batch.logps - batch.old_logps) * batch.mask).exp()
        terms = -batch.advantages * (weight * ratio * batch.mask).sum(-1)  # (N,)
        reported = {"sampler/weight": weight, "sampler/truncated": (apart > self.cap).float()}
        return Loss(terms, metrics={name: Average(each, batch.mask) for name, each in reported.items()})


@hookimpl
def register_objectives(register):
    """Register the objective `tis-rloo`."""
    register(CorrectedLeaveOneOut)
