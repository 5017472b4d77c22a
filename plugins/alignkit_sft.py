"""Supervised fine-tuning: maximizes Σ_t log π(y_t | x, y_<t) over the tokens of the completion.

Source: Ouyang et al., 2022, arXiv:2203.02155, step 1. Every completion token of an optimizer step counts the
same, so long completions weigh more than short ones. From preferences it learns the best completion of each
prompt. The data's column `weight` multiplies the weight of a completion.
"""

from alignkit import Batch, Demonstrations, Loss, Objective, hookimpl


class SupervisedFineTuning(Objective):
    """Imitate demonstrations by the next-token loss (Ouyang et al., 2022, arXiv:2203.02155)."""

    name = "sft"
    data = Demonstrations

    def loss(self, batch: Batch) -> Loss:
        """Return −log π of every completion token."""
        weight = batch.mask.to(batch.logps.dtype)
        if (example_weight := batch.get("weight")) is not None:
            weight = weight * example_weight[:, None]
        return Loss(-batch.logps, weight)


@hookimpl
def register_objectives(register):
    """Register the objective `sft`."""
    register(SupervisedFineTuning)
