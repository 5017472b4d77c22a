"""Supervised fine-tuning: maximise Σ_t log π(y_t | x, y_<t) over the completion.

Source: Ouyang et al., 2022, arXiv:2203.02155, step 1. Each completion token counts once over the optimizer
step, so long completions weigh more than short ones. On preferences it imitates the best completion of each
prompt.
"""

from alignkit import Batch, Demonstrations, Loss, Objective, hookimpl


class SupervisedFineTuning(Objective):
    """Next-token loss on demonstrations (Ouyang et al., 2022, arXiv:2203.02155)."""

    name = "sft"
    data = Demonstrations

    def loss(self, batch: Batch) -> Loss:
        """−log π of every completion token."""
        weight = batch.mask.to(batch.logps.dtype)
        if (example_weight := batch.get("weight")) is not None:
            weight = weight * example_weight[:, None]
        return Loss(-batch.logps, weight)


@hookimpl
def register_objectives(register):
    """Register `sft`."""
    register(SupervisedFineTuning)
