"""NewMethod: says in one sentence what the method does.

Source: authors, year, arXiv number, equation. Replace this text and the mathematics below. The loss below is
a hinge on the margin between the log-ratios of a better and a worse completion:
max(0, 1 − β·(log π/π_ref of the better one − log π/π_ref of the worse one)).

Deviations: name each place where the code differs from the paper, and say why.
"""

from alignkit import Batch, Field, Loss, Metric, Objective, Preferences, hookimpl

alignkit_api = "1.0"  # the version of alignkit's API for which this is written


class NewMethod(Objective):
    """Describe it in one line for `alignkit objectives` (authors, year, arXiv number, equation)."""

    name = "new-method"  # the name in recipes
    data = Preferences  # or Demonstrations, or Labelled; an OnlineObjective samples and learns from Prompts
    trains = {"policy"}  # roles that get gradients: policy, reward, value
    reads = {"reference"}  # roles that are computed without gradient
    # Labels and units, for tables and pictures, of the metrics that `loss` reports.
    metrics = {
        "rewards/margins": Metric("difference of the rewards"),
        "rewards/accuracies": Metric("accuracy", "share of pairs"),
    }
    # A field is an option of recipes: `train: {new-method: {beta: 0.2}}`.
    beta: float = Field(0.1, gt=0, description="β, strength of the pull towards the reference")

    def loss(self, batch: Batch) -> Loss:
        """Return one term for every pair of a better and a worse completion of the same prompt."""
        # N completions, each of at most T tokens; `mask` is true at its tokens. `logps` and `reference_logps`
        # are there because the class declares the policy and the reference. torch is imported here so that
        # `alignkit check` answers at once.
        import torch

        log_ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)  # (N,)
        # P pairs: the places of the better and the worse completion among the N, and the weight of each pair,
        # by which each prompt counts once.
        pairs = batch.pairs()
        margin = self.beta * (log_ratio[pairs.winner] - log_ratio[pairs.loser])  # (P,)
        terms = torch.relu(1 - margin)  # (P,)
        # Return no mean and no sum: the engine divides Σ weight·terms by Σ weight over the whole optimizer
        # step. It averages the metrics too.
        accuracies = (margin.sign() + 1) / 2  # (P,); a tie counts half
        reported = {"rewards/margins": margin, "rewards/accuracies": accuracies}
        return Loss(terms, pairs.weight, reported)


@hookimpl
def register_objectives(register):
    """Register the objective `new-method`."""
    register(NewMethod)
