"""Token-level direct preference optimization: DPO whose margin counts the divergence along each completion.

Source: Zeng et al., 2024, arXiv:2404.11999, eq. 17 (TDPO2):

    −log σ(u − α·δ),  u = β·[log π/π_ref](y_w) − β·[log π/π_ref](y_l),  δ = β·D(y_l) − sg(β·D(y_w)),

where D(y) = Σ_t KL(π_ref(·|x, y_<t) ‖ π(·|x, y_<t)), and sg stops the gradient.
"""

from alignkit import Batch, Field, Loss, Metric, Objective, Preferences, hookimpl

alignkit_api = "1.0"


def kl(reference, policy):
    """Return KL(π_ref ‖ π) of distributions (C, V), as (C,)."""
    return (reference.exp() * (reference - policy)).sum(-1)


class TokenDirectPreferenceOptimization(Objective):
    """Weigh DPO's margin by each completion's divergence (Zeng et al., 2024, arXiv:2404.11999, eq. 17)."""

    name = "tdpo"
    data = Preferences
    reads = {"reference"}
    over_vocabulary = {"divergence": kl}
    metrics = {"rewards/margins": Metric("difference of the rewards")}
    beta: float = Field(0.1, gt=0, description="β, strength of the pull towards the reference")
    alpha: float = Field(0.5, ge=0, description="α, weight of the difference of the divergences")

    def loss(self, batch: Batch) -> Loss:
        """Return −log σ(u − α·δ) of every pair."""
        from torch.nn.functional import logsigmoid

        rewards = self.beta * ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)  # (N,)
        divergence = self.beta * (batch.divergence * batch.mask).sum(-1)  # (N,)
        pairs = batch.pairs()
        margin = rewards[pairs.winner] - rewards[pairs.loser]  # (P,)
        delta = divergence[pairs.loser] - divergence[pairs.winner].detach()
        return Loss(-logsigmoid(margin - self.alpha * delta), pairs.weight, {"rewards/margins": margin})


@hookimpl
def register_objectives(register):
    """Register the objective `tdpo`."""
    register(TokenDirectPreferenceOptimization)
