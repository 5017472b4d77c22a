"""On-policy distillation: the policy writes, and learns at each of its tokens how a teacher would go on.

Source: Agarwal et al., 2024, arXiv:2306.13649 (GKD, with all data from the student). For a sample y of the
policy, the loss is the mean over its tokens of the generalised Jensen–Shannon divergence (eq. 1)

    JSD_β(P ‖ Q) = β·KL(P ‖ M) + (1 − β)·KL(Q ‖ M),  M = β·P + (1 − β)·Q,

where P is the teacher's distribution over the vocabulary and Q the policy's. Its gradient reaches Q alone:
not P, and not the choice of y. β near 0 is near β·KL(P ‖ Q), and β near 1 near (1 − β)·KL(Q ‖ P).

Deviation: β is between 0 and 1, because the divergence is 0 at both ends.

The recipe says who teaches: a stage, or the policy's start that reads a prompt with more in it.
"""

from functools import partial

from alignkit import Batch, Field, Loss, Metric, OnlineObjective, Prompts, hookimpl

alignkit_api = "1.0"


def divergence(teacher, policy, beta):
    """Return JSD_β(teacher ‖ policy) of log-probabilities (C, V), as (C,)."""
    from math import log

    mixture = (teacher + log(beta)).logaddexp(policy + log(1 - beta))
    of_teacher, of_policy = teacher.exp() * (teacher - mixture), policy.exp() * (policy - mixture)
    return (beta * of_teacher + (1 - beta) * of_policy).sum(-1)


class Distillation(OnlineObjective):
    """Distillation from a teacher on the policy's own samples (Agarwal et al., 2024, arXiv:2306.13649)."""

    name = "distil"
    data = Prompts
    rewarded = False
    roles = {"teacher": "language-model"}
    metrics = {"distil/divergence": Metric("divergence from the teacher", "nats per token")}
    beta: float = Field(0.5, gt=0, lt=1, description="β, the teacher's share of the mixture")

    @property
    def over_vocabulary(self):
        """Return the divergence with this β."""
        return {"divergence": partial(divergence, beta=self.beta)}

    def loss(self, batch: Batch) -> Loss:
        """Return the mean divergence over the tokens of each completion."""
        terms = (batch.divergence * batch.mask).sum(-1) / batch.mask.sum(-1)  # (N,)
        return Loss(terms, metrics={"distil/divergence": terms})


@hookimpl
def register_objectives(register):
    """Register the objective `distil`."""
    register(Distillation)
