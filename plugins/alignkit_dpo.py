"""Direct preference optimization: fits preferences with the policy as its own reward model.

Source: Rafailov et al., 2023, arXiv:2305.18290, eq. 7: −log σ(r(x, y_w) − r(x, y_l)), the loss of a
Bradley–Terry reward model, with r = β·log π/π_ref. Label smoothing ("conservative" DPO) assumes that a share
ε of the labels is flipped: (1 − ε)·loss(margin) + ε·loss(−margin), Mitchell, 2023,
https://ericmitchell.ai/cdpo.pdf.

Deviation: with rankings of K completions, every ordered pair is used and each prompt weighs 1, because the
paper's loss is of pairs.
"""

from alignkit import Batch, Field, Loss, Metric, Objective, Preferences, hookimpl


class DirectPreferenceOptimization(Objective):
    """Direct preference optimization (Rafailov et al., 2023, arXiv:2305.18290, eq. 7)."""

    name = "dpo"
    data = Preferences
    trains = {"policy"}
    reads = {"reference"}
    metrics = {
        "rewards/chosen": Metric("reward of the chosen completion"),
        "rewards/rejected": Metric("reward of the rejected completion"),
        "rewards/accuracies": Metric("accuracy", "share of pairs"),
        "rewards/margins": Metric("difference of the rewards"),
        "logps/chosen": Metric("log-probability of the chosen completion", "nats", detail=True),
        "logps/rejected": Metric("log-probability of the rejected completion", "nats", detail=True),
    }
    beta: float = Field(0.1, gt=0, description="β, strength of the pull towards the reference")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="ε, share of the labels assumed to be flipped"
    )

    def loss(self, batch: Batch) -> Loss:
        """Return −log σ(r_w − r_l) of every pair, where r is β·log π/π_ref of a completion."""
        from torch.nn.functional import logsigmoid

        logps = (batch.logps * batch.mask).sum(-1)  # (N,)
        rewards = self.beta * (logps - (batch.reference_logps * batch.mask).sum(-1))  # (N,)
        pairs = batch.pairs()
        chosen, rejected = rewards[pairs.winner], rewards[pairs.loser]  # (P,)
        margin = chosen - rejected
        terms = -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)
        reported = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (margin.sign() + 1) / 2,  # a tie counts half
            "rewards/margins": margin,
            "logps/chosen": logps[pairs.winner],
            "logps/rejected": logps[pairs.loser],
        }
        return Loss(terms, pairs.weight, reported)


@hookimpl
def register_objectives(register):
    """Register the objective `dpo`."""
    register(DirectPreferenceOptimization)
