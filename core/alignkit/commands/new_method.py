"""NewMethod: in one sentence, what it does that others do not.

Source: authors, year, arXiv number, equation. Replace this, and the mathematics below it, which is a hinge on
the margin between the log-ratios of a better and a worse completion: max(0, 1 - β·(log π/π_ref of the better
- log π/π_ref of the worse)).

Deviations: name each place where the code does other than the paper, and say why.
"""

from alignkit import Batch, Field, Loss, Objective, Preferences, hookimpl


class NewMethod(Objective):
    """One line for `alignkit objectives` (authors, year, arXiv number, equation)."""

    name = "new-method"  # what recipes call it: `train: new-method`
    data = Preferences  # or Demonstrations, Labelled; an OnlineObjective samples for itself and has Prompts
    trains = {"policy"}  # roles that get gradients: policy, reward, value
    reads = {"reference"}  # roles computed without gradient
    # A field is an option, validated with the recipe: `train: {new-method: {beta: 0.2}}`.
    beta: float = Field(0.1, gt=0, description="strength of the pull towards the reference")

    def loss(self, batch: Batch) -> Loss:
        """One term for every pair of a better and a worse completion of the same prompt."""
        # N completions, each of at most T tokens; `mask` is true at its tokens. `logps` and `reference_logps`
        # are there because the class declares the policy and the reference. torch is imported here so that
        # `alignkit check` answers at once.
        import torch

        log_ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)  # (N,)
        # P pairs: their places among the N, and weights by which each prompt counts once
        pairs = batch.pairs()
        margin = self.beta * (log_ratio[pairs.winner] - log_ratio[pairs.loser])  # (P,)
        terms = torch.relu(1 - margin)  # (P,)
        # No mean and no sum: the engine divides Σ weight·terms by Σ weight over the whole optimizer step. It
        # averages the metrics too.
        return Loss(
            terms, pairs.weight, {"rewards/margins": margin, "rewards/accuracies": (margin > 0).float()}
        )


@hookimpl
def register_objectives(register):
    """Register `new-method`."""
    register(NewMethod)
