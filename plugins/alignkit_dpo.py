"""Direct preference optimization: the policy is its own reward model, r = β log π/π_ref, in Bradley–Terry's
likelihood.

Source: Rafailov et al., 2023, arXiv:2305.18290, eq. 7; label smoothing ("conservative" DPO) assumes that a
share ε of the labels is flipped: (1 − ε)·loss(margin) + ε·loss(−margin), Mitchell, 2023,
https://ericmitchell.ai/cdpo.pdf. Deviation: rankings of K completions use every ordered pair, each prompt
weighing 1.
"""

from alignkit import Batch, Field, Loss, Objective, Preferences, hookimpl


class DirectPreferenceOptimization(Objective):
    """Direct preference optimization (Rafailov et al., 2023, arXiv:2305.18290, eq. 7)."""

    name = "dpo"
    data = Preferences
    trains = {"policy"}
    reads = {"reference"}
    beta: float = Field(0.1, gt=0, description="strength of the pull towards the reference")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of the labels assumed to be flipped")

    def loss(self, batch: Batch) -> Loss:
        """−log σ(β·(log-ratio of the winner − that of the loser)) of every pair."""
        from torch.nn.functional import logsigmoid

        logps = (batch.logps * batch.mask).sum(-1)  # (N,)
        rewards = self.beta * (logps - (batch.reference_logps * batch.mask).sum(-1))  # (N,)
        pairs = batch.pairs()
        chosen, rejected = rewards[pairs.winner], rewards[pairs.loser]  # (P,)
        margin = chosen - rejected
        terms = -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)
        metrics = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (margin > 0).float(),
            "rewards/margins": margin,
            "logps/chosen": logps[pairs.winner],
            "logps/rejected": logps[pairs.loser],
        }
        return Loss(terms, pairs.weight, metrics)


@hookimpl
def register_objectives(register):
    """Register `dpo`."""
    register(DirectPreferenceOptimization)
