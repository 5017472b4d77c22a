"""The Bradley–Terry reward model: P(y_w ≻ y_l | x) = σ(r(x, y_w) − r(x, y_l)), fitted by maximum likelihood.

Source: Ouyang et al., 2022, arXiv:2203.02155, eq. 1 (rankings of K completions: all pairs of a prompt in one
pass, each prompt weighing 1). Options:

margin     −log σ(r_w − r_l − m) with the data's column `margin` (Touvron et al., 2023, arXiv:2307.09288, eq.
2) centering  + c·(r_w + r_l)², which pulls the mean reward to 0 (Eisenstein et al., 2023, arXiv:2312.09244)
votes      with the data's column `votes`, cross-entropy to the share of annotators who preferred each
completion
"""

from alignkit import Batch, Field, Loss, Objective, Preferences, hookimpl


class BradleyTerry(Objective):
    """Reward model on preferences (Ouyang et al., 2022, arXiv:2203.02155, eq. 1)."""

    name = "bradley-terry"
    data = Preferences
    trains = {"reward"}
    margin: bool = Field(False, description="subtract the data's column `margin` from the difference")
    centering: float = Field(0.0, ge=0, description="weight of (r_w + r_l)²")
    votes: bool = Field(False, description="soft labels: the share of `votes` for each completion")

    def loss(self, batch: Batch) -> Loss:
        """−log σ(r_w − r_l) of every pair."""
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
        metrics = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": chosen - rejected,
        }
        return Loss(terms, pairs.weight, metrics)


@hookimpl
def register_objectives(register):
    """Register `bradley-terry`."""
    register(BradleyTerry)
