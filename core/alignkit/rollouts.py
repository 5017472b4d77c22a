"""Defines what the author of an online method receives: sampled completions, with their rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from alignkit.batch import Batch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rollouts(Batch):
    """Sampled completions, with the signals as they were at sampling.

    rewards (N,): the weighted sum of the rewards. sampler_logps (N, T): the log-probabilities as the sampler
    computed them, zero where a completion is the data's own. source (N,): the place of its role in `sources`.
    finished (N,): 1 where a completion ended by itself. Columns of the data are those of the prompts.
    reward_weights: the factor of each of `reward_parts` in the recipe's sum, by the reward's name.
    """

    reward_weights: Mapping[str, float] = field(default_factory=dict)

    def select(self, index: Tensor) -> Rollouts:
        """Return the completions whose indices `index`, (K,), gives, in that order.

        Or those that are marked, where `index` is of bool, (N,).
        """
        keep = {name: value[index] for name, value in self.signals.items()}
        columns = {name: value[index] for name, value in self.columns.items()}
        return replace(
            self,
            tokens=self.tokens[index],
            mask=self.mask[index],
            group=self.group[index],
            columns=columns,
            signals=keep,
        )

    @property
    def token_rewards(self) -> Tensor:
        """Return the reward of each token, (N, T), zero outside the mask; a row's sum is its reward.

        A reward that is one number for a completion is earned at its last token.
        """
        if "token_rewards" in self.signals:
            return self.signals["token_rewards"]
        return self.at_end(self.rewards)

    def token_kl(self, estimator: str = "k1") -> Tensor:
        """Return Schulman's estimates of KL(π‖π_ref) at each sampled token, (N, T), zero outside the mask.

        π is the policy at sampling. With log r = log π_ref − log π, the estimators are k1 = −log r,
        k2 = (log r)²/2 and k3 = r − 1 − log r. The mean of k1 and of k3 is the divergence, that of k2 is near
        it. Source: http://joschu.net/blog/kl-approx.html.
        """
        log_ratio = (self.reference_logps - self.logps) * self.mask
        if estimator == "k1":
            return -log_ratio
        return {"k2": log_ratio.square() / 2, "k3": log_ratio.expm1() - log_ratio}[estimator]

    def at_end(self, values: Tensor) -> Tensor:
        """Return `values`, (N,), at the last token of each completion: (N, T), zero elsewhere."""
        to_come = self.mask.flip(-1).cumsum(-1).flip(-1)
        return values[:, None] * (self.mask & (to_come == 1))

    def whitened(self, values: Tensor, *, shift: bool = True) -> Tensor:
        """Return `values`, (N,) or (N, T), scaled to variance 1 and shifted to mean 0.

        Values of (N, T) count only inside the mask. shift: false keeps the mean as it is.
        """
        import torch

        mask = self.mask if values.dim() == 2 else torch.ones_like(values, dtype=torch.bool)
        count = mask.sum()
        mean = (values * mask).sum() / count
        variance = ((values - mean).square() * mask).sum() / (count - 1).clamp(min=1)
        return ((values - mean) * (variance + 1e-8).rsqrt() + (0.0 if shift else mean)) * mask
