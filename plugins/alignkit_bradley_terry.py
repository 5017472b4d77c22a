"""Trains a Bradley–Terry reward model by maximum likelihood: P(y_w ≻ y_l | x) = σ(r(x, y_w) − r(x, y_l)).

Source: Ouyang et al., 2022, arXiv:2203.02155, eq. 1. With rankings of K completions, all pairs of a prompt
are in one pass, and each prompt weighs 1. The options change the loss of a pair, −log σ(r_w − r_l):

- margin: −log σ(r_w − r_l − m), where m is the data's column `margin` (Touvron et al., 2023,
  arXiv:2307.09288, eq. 2).
- centering: adds c·(r_w + r_l)², which pulls the mean reward to 0 (Eisenstein et al., 2023,
  arXiv:2312.09244).
- votes: the cross-entropy to the share of annotators who preferred each completion, from the data's column
  `votes`.
"""

from alignkit import Batch, Field, Loss, Metric, Objective, Preferences, hookimpl


class BradleyTerry(Objective):
    """Train a reward model on preferences (Ouyang et al., 2022, arXiv:2203.02155, eq. 1)."""

    name = "bradley-terry"
    data = Preferences
    trains = {"reward"}
    metrics = {
        "rewards/chosen": Metric("reward of the chosen completion"),
        "rewards/rejected": Metric("reward of the rejected completion"),
        "rewards/accuracies": Metric("accuracy", "share of pairs"),
        "rewards/margins": Metric("difference of the rewards"),
    }
    margin: bool = Field(
        False, description="subtract the data's column `margin` from the difference of the rewards"
    )
    centering: float = Field(
        0.0, ge=0, description="weight of (r_w + r_l)², which pulls the mean reward to 0"
    )
    votes: bool = Field(
        False, description="learn the share of annotators (column `votes`) that preferred each completion"
    )

    def loss(self, batch: Batch) -> Loss:
        """Return −log σ(r_w − r_l) of every pair, changed as the options say."""
        from torch.nn.functional import logsigmoid

        pairs = batch.pairs()
        chosen, rejected = batch.scores[pairs.winner], batch.scores[pairs.loser]  # (P,)
        difference = chosen - rejected - (batch.margin[pairs.winner] if self.margin else 0.0)
        terms = -logsigmoid(difference)
        if self.votes:
            won = batch.votes[pairs.winner] / (batch.votes[pairs.winner] + batch.votes[pairs.loser])
            terms = won * terms - (1 - won) * logsigmoid(-difference)
        if self.centering:
            terms = terms + self.centering * (chosen + rejected).square()
        reported = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": ((chosen - rejected).sign() + 1) / 2,  # a tie counts half
            "rewards/margins": chosen - rejected,
        }
        return Loss(terms, pairs.weight, reported)


@hookimpl
def register_objectives(register):
    """Register the objective `bradley-terry`."""
    register(BradleyTerry)
