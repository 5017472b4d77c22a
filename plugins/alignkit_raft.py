"""Reward-ranked fine-tuning (RAFT): sample, keep the completions with the highest reward, imitate them.

Source: Dong et al., 2023, arXiv:2304.06767, alg. 1, whose best-of-K for each prompt is `keep: 1`; with
`above`, rejection-sampling fine-tuning: every kept completion is good enough. Equal rewards are kept in the
order of sampling. Deviation: the policy samples anew at every step instead of once per long stage.
"""

from typing import Literal

from pydantic import model_validator

from alignkit import Batch, Field, Loss, OnlineObjective, Prompts, Rollouts, hookimpl


class RewardRankedFineTuning(OnlineObjective):
    """Next-token loss on the best of the policy's own samples (Dong et al., 2023, arXiv:2304.06767)."""

    name = "raft"
    data = Prompts
    samples_per_prompt: int = Field(8, ge=1, description="completions sampled for each prompt")
    keep: int = Field(1, ge=1, description="completions kept for each prompt")
    over: Literal["prompt", "batch"] = Field(
        "prompt", description="rank a prompt's samples, or all: then `keep` is an average"
    )
    above: float | None = Field(
        None, description="keep only completions of a higher reward; a batch may then keep none"
    )

    @model_validator(mode="after")
    def _options_agree(self):
        if self.keep > self.samples_per_prompt:
            raise ValueError(
                f"keep is {self.keep} of {self.samples_per_prompt} samples_per_prompt; keep as "
                "many as are sampled, or fewer"
            )
        return self

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """The completions to imitate, in the order of sampling; each knows the mean reward of all."""
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
        """−log π of every token of the kept completions."""
        metrics = {"objective/scores": batch.rewards, "objective/scores_all": batch.mean_reward}
        return Loss(-batch.logps, batch.mask.to(batch.logps.dtype), metrics)


@hookimpl
def register_objectives(register):
    """Register `raft`."""
    register(RewardRankedFineTuning)
