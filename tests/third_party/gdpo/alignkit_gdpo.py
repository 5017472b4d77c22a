"""Group reward-decoupled normalization policy optimization: no reward hides the differences of another.

Source: Liu et al., 2026, arXiv:2601.05242. Of G samples of a prompt, r_k,i is what the k-th reward gives the
sample i. Each reward is normalized by itself in its group, then the weighted sum over the whole batch:

    A_k,i = (r_k,i − mean_i r_k,i) / std_i r_k,i,   S_i = Σ_k w_k·A_k,i,
    A_i = (S_i − mean S) / (std S + ε),

with the weights w_k of the recipe. Where rewards are summed first, as in GRPO, the sums (0, 1) and (0, 2)
give the same advantages; here the sample that two rewards prefer gets twice as much. The loss is the clipped
one of GRPO, 1/|y|·Σ_t −min(r_t·A, clip(r_t, 1 − ε_c, 1 + ε_c)·A), without a divergence from the reference.

Deviations:

- std_i r_k,i has 1e-6 added, so that a reward which is the same for all samples of a prompt adds nothing.
- A is divided by √(std² + 1e-8): ε stands under the root.
"""

from alignkit import Batch, Field, Loss, Metric, OnlineObjective, Prompts, Rollouts, hookimpl

alignkit_api = "1.0"


class DecoupledNormalization(OnlineObjective):
    """Normalize each reward by itself within its group (Liu et al., 2026, arXiv:2601.05242)."""

    name = "gdpo"
    data = Prompts
    metrics = {"advantages/size": Metric("size of the sum of the normalized rewards", detail=True)}
    clip: float = Field(0.2, gt=0, description="ε_c, largest distance of the probability ratio from 1")

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the advantages, (N,)."""
        summed = 0
        for name, given in rollouts.reward_parts.items():
            normalized = (given - rollouts.group_mean(given)) / (rollouts.group_std(given) + 1e-6)
            summed = summed + rollouts.reward_weights[name] * normalized  # (N,)
        return rollouts.with_(advantages=rollouts.whitened(summed), size=summed.abs())

    def loss(self, batch: Batch) -> Loss:
        """Return one term for each completion, the mean over its tokens."""
        ratio = ((batch.logps - batch.old_logps) * batch.mask).exp()  # (N, T)
        kept = ratio * batch.advantages[:, None]
        bounded = ratio.clamp(1 - self.clip, 1 + self.clip) * batch.advantages[:, None]
        terms = -(kept.minimum(bounded) * batch.mask).sum(-1) / batch.mask.sum(-1)  # (N,)
        return Loss(terms, metrics={"advantages/size": batch.size})


@hookimpl
def register_objectives(register):
    """Register the objective `gdpo`."""
    register(DecoupledNormalization)
