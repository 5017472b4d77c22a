"""Reward-ranked fine-tuning (RAFT): samples, keeps the completions with the highest reward, imitates them.

Source: Dong et al., 2023, arXiv:2304.06767, alg. 1, whose best of K per prompt is `keep: 1`. With `above` it
is rejection-sampling fine-tuning: only completions with a higher reward are kept. Of equal rewards, the
completion that was sampled first is kept first.

Deviation: the policy samples anew for every batch, not once per long stage, so that each batch comes from the
policy that learns from it.
"""

from typing import Literal

from alignkit import (
    Average,
    Batch,
    Field,
    Loss,
    Metric,
    OnlineObjective,
    Prompts,
    Rollouts,
    hookimpl,
    model_validator,
)


class RewardRankedFineTuning(OnlineObjective):
    """Imitate the best of the policy's own samples (Dong et al., 2023, arXiv:2304.06767, alg. 1)."""

    name = "raft"
    data = Prompts
    metrics = {
        "objective/scores": Metric("reward of the kept samples", detail=True),
        "objective/scores_all": Metric("reward of all samples", detail=True),
    }
    samples_per_prompt: int = Field(8, ge=1, description="completions sampled for each prompt")
    keep: int = Field(1, ge=1, description="completions kept for each prompt")
    over: Literal["prompt", "batch"] = Field(
        "prompt",
        description="rank the samples per prompt, or of the whole batch; `keep` is then a mean per prompt",
    )
    above: float | None = Field(
        None, description="keep only completions with a higher reward; a batch may then keep none"
    )

    @model_validator(mode="after")
    def _options_agree(self):
        if self.keep > self.samples_per_prompt:
            raise ValueError(
                f"keep is {self.keep}, and samples_per_prompt is {self.samples_per_prompt}; keep must be at "
                "most samples_per_prompt"
            )
        return self

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Return the completions to imitate, in the order of sampling, each with the mean reward of all."""
        import torch

        rewards, group = rollouts.rewards, rollouts.group
        order = rewards.argsort(descending=True, stable=True)  # (N,) best first
        if self.over == "prompt":
            order = order[group[order].argsort(stable=True)]  # prompt by prompt, best first in each
            sizes = torch.bincount(group)  # (G,)
            place = torch.arange(len(rollouts), device=group.device) - (sizes.cumsum(0) - sizes)[group[order]]
            order = order[place < self.keep]
        else:
            order = order[: self.keep * len(group.unique())]
        if self.above is not None:
            order = order[rewards[order] > self.above]
        return rollouts.with_(mean_reward=rewards.mean().expand(len(rollouts))).select(order.sort().values)

    def loss(self, batch: Batch) -> Loss:
        """Return −log π of every token of the kept completions."""
        reported = {
            "objective/scores": Average(batch.rewards),
            "objective/scores_all": Average(batch.mean_reward),
        }
        return Loss(-batch.logps, batch.mask.to(batch.logps.dtype), reported)


@hookimpl
def register_objectives(register):
    """Register the objective `raft`."""
    register(RewardRankedFineTuning)
