"""Decoupled clip and dynamic sampling policy optimization: clipped ratios, and prompts that have a contrast.

Source: Yu et al., 2025, arXiv:2503.14476, eq. 8 to 13. Of G samples of a prompt with the rewards R_i,

    −1/Σ_i|y_i| · Σ_i Σ_t min(r_t·A_i, clip(r_t, 1 − ε_low, 1 + ε_high)·A_i),
    r_t = π(y_t|x, y_<t) / π_old(y_t|x, y_<t),  A_i = (R_i − mean R) / std R,

over prompts with some samples that are right, and not all. The reward `dapo-overlong` is the soft punishment
of length, eq. 13; `filter_overlong` leaves cut completions out of the loss, sec. 3.4.

Deviations:

- Σ_i|y_i| counts the tokens of the whole optimizer step, as implementations do; the paper writes it for each
  prompt.
- The deviation has 1e-6 added: where `correct` is not the only reward, all samples of an accepted prompt may
  have the same sum.
"""

from alignkit import Batch, Field, Loss, Metric, OnlineObjective, Prompts, Reward, Rollouts, hookimpl

alignkit_api = "1.0"


class DynamicSampling(OnlineObjective):
    """Let ratios rise further than fall, and replace prompts without a contrast (arXiv:2503.14476, eq. 8)."""

    name = "dapo"
    data = Prompts
    metrics = {"policy/clipped": Metric("clipped probability ratios", "share of tokens", detail=True)}
    correct: str = Field(description="the reward that is above 0 where a completion is right")
    clip_low: float = Field(0.2, gt=0, lt=1, description="ε_low, largest fall of a token's probability ratio")
    clip_high: float = Field(0.28, gt=0, description="ε_high, largest rise of a token's probability ratio")
    filter_overlong: bool = Field(False, description="learn nothing from completions that were cut")

    def accept(self, rollouts: Rollouts):
        """Take the prompts of which some samples are right, and not all (eq. 11)."""
        right = (rollouts.reward_parts[self.correct] > 0).float()  # (N,)
        return rollouts.of_groups(rollouts.group_std(right)) > 0

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        """Add the advantages, (N,) (eq. 9)."""
        centred = rollouts.rewards - rollouts.group_mean(rollouts.rewards)
        return rollouts.with_(advantages=centred / (rollouts.group_std(rollouts.rewards) + 1e-6))

    def loss(self, batch: Batch) -> Loss:
        """Return one term for each token (eq. 8)."""
        ratio = ((batch.logps - batch.old_logps) * batch.mask).exp()  # (N, T)
        kept = ratio * batch.advantages[:, None]
        bounded = ratio.clamp(1 - self.clip_low, 1 + self.clip_high) * batch.advantages[:, None]
        counted = batch.mask * batch.finished[:, None] if self.filter_overlong else batch.mask
        return Loss(-kept.minimum(bounded), counted, {"policy/clipped": (bounded < kept).float()})


class SoftOverlong(Reward):
    """Falls from 0 to −1 over the last `cache` tokens before the limit (arXiv:2503.14476, eq. 13)."""

    name = "dapo-overlong"
    limit: int = Field(ge=1, description="L_max, the length in tokens at which the punishment is −1")
    cache: int = Field(ge=1, description="L_cache, number of tokens over which the punishment grows")

    def score(self, prompts, completions, completion_ids, **columns):
        """Return one punishment for each completion, in [−1, 0]."""
        return [-min(max(len(ids) - self.limit + self.cache, 0) / self.cache, 1.0) for ids in completion_ids]


@hookimpl
def register_objectives(register):
    """Register the objective `dapo`."""
    register(DynamicSampling)


@hookimpl
def register_rewards(register):
    """Register the reward `dapo-overlong`."""
    register(SoftOverlong)
