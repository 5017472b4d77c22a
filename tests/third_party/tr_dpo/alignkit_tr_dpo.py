"""Trust-region direct preference optimization: DPO whose reference comes after the policy.

Source: Gorbatovski et al., 2024, arXiv:2404.09656. The loss is DPO's,

    −log σ(β·[log π/π_ref](y_w) − β·[log π/π_ref](y_l)),

and no gradient reaches π_ref, which moves after optimizer steps: softly, θ_ref ← α·θ + (1 − α)·θ_ref (eq. 4),
or at once, θ_ref ← θ after every τ steps (eq. 5). The recipe says how, with α as `rate` and τ as `every`:

    roles: {reference: {follow: policy, rate: 0.5}}            # soft, α = 0.5
    roles: {reference: {follow: policy, rate: 1, every: 512}}  # hard, τ = 512

Deviation: where the paper averages all weights, alignkit averages the matrices of the adapters, because the
rest is frozen. With the rate 1 both are the same.
"""

from alignkit import Batch, Field, Loss, Metric, Objective, Preferences, Role, hookimpl

alignkit_api = "1.0"


class TrustRegionDirectPreferenceOptimization(Objective):
    """DPO with a reference that follows the policy (Gorbatovski et al., 2024, arXiv:2404.09656)."""

    name = "tr-dpo"
    data = Preferences
    reads = {"reference"}
    roles = {"reference": Role("language-model", follows="policy")}
    metrics = {"rewards/margins": Metric("difference of the rewards")}
    beta: float = Field(0.1, gt=0, description="β, strength of the pull towards the reference")

    def loss(self, batch: Batch) -> Loss:
        """Return −log σ(margin) of every pair."""
        from torch.nn.functional import logsigmoid

        rewards = self.beta * ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)  # (N,)
        pairs = batch.pairs()
        margin = rewards[pairs.winner] - rewards[pairs.loser]  # (P,)
        return Loss(-logsigmoid(margin), pairs.weight, {"rewards/margins": margin})


@hookimpl
def register_objectives(register):
    """Register the objective `tr-dpo`."""
    register(TrustRegionDirectPreferenceOptimization)
