"""Holds the samples of one batch while their tokens are drawn.

Dimensions: N samples, B of them still in the batch, T new tokens at most, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.choosing import choose
from alignkit.sampling.stopping import StopWatch

# the share of finished samples at which copying the cache costs less than computing them further
LEAVE = 1 / 8


class SamplesInProgress:
    """The N samples: their tokens so far, and which of them still need more.

    rows (B,): the sample in each place of the batch. newest (B,): its last token. finished (B,): whether it
    has ended. left: how many of the B have not ended. lengths (N,): the number of tokens of samples that
    ended, 0 for the others. step: the number of tokens drawn.
    """

    def __init__(
        self,
        uniforms: Tensor,
        settings: Sampling,
        *,
        ends: Tensor,
        pad: int,
        text: Callable[[list[int]], str] | None,
    ) -> None:
        """Begin without tokens.

        uniforms (N, T): the number in [0, 1) that decides each token. ends (E,): ids that end a sample. text:
        decodes ids, needed with stop strings.
        """
        self.uniforms, self.settings, self.ends = uniforms, settings, ends
        self.tokens = torch.full_like(uniforms, pad, dtype=torch.long)  # (N, T)
        self.logps = torch.zeros_like(uniforms)  # (N, T)
        self.rows = torch.arange(len(uniforms), device=uniforms.device)
        self.lengths = torch.zeros_like(self.rows)
        self.newest = torch.zeros_like(self.rows)
        self.finished = torch.zeros_like(self.rows, dtype=torch.bool)
        self.left = len(self.rows)
        self.step = 0
        self.watches: list[StopWatch] = []
        if settings.stop and text is not None:
            self.watches = [StopWatch(settings.stop, text) for _ in range(len(uniforms))]

    @property
    def done(self) -> bool:
        """Tell whether no sample needs another token."""
        return self.left == 0 or self.step == self.settings.max_tokens

    @property
    def share(self) -> float:
        """Return the share of all tokens that were drawn, or are not needed because their sample ended."""
        most = self.settings.max_tokens
        return 1 - self.left * (most - self.step) / (len(self.tokens) * most)

    def draw(self, logits: Tensor) -> None:
        """Draw the next token of each sample in the batch from its logits (B, V)."""
        early = self.step < self.settings.min_tokens
        never = self.ends if early else None
        numbers = self.uniforms[self.rows, self.step]
        self.newest, self.logps[self.rows, self.step] = choose(logits, numbers, self.settings, never=never)
        self.tokens[self.rows, self.step] = self.newest
        self.step += 1
        ended = torch.isin(self.newest, self.ends)
        if self.watches:
            ended |= self._stopped() & (not early)
        self.lengths[self.rows] = torch.where(ended & ~self.finished, self.step, self.lengths[self.rows])
        self.finished |= ended
        self.left = len(self.rows) - int(self.finished.sum())

    def leave(self) -> Tensor | None:
        """Take finished samples out of the batch where enough of them have finished.

        Return the places (B,) of the samples that stay, or None where all stay.
        """
        if self.left > (1 - LEAVE) * len(self.rows):
            return None
        staying = (~self.finished).nonzero()[:, 0]
        self.rows, self.newest, self.finished = (
            self.rows[staying],
            self.newest[staying],
            self.finished[staying],
        )
        return staying

    def samples(self) -> list[Drawn]:
        """Return the N samples, each cut where it ended."""
        columns = (self.tokens.tolist(), self.logps.tolist(), self.lengths.tolist())
        return [
            Drawn(tokens[: length or None], logps[: length or None], length > 0)
            for tokens, logps, length in zip(*columns, strict=True)
        ]

    def _stopped(self) -> Tensor:
        """Return which samples complete a stop string with their newest token, (B,).

        A sample that is finished already counts as not completing any.
        """
        batch = zip(self.rows.tolist(), self.newest.tolist(), self.finished.tolist(), strict=True)
        return torch.tensor(
            [not finished and self.watches[row].completes(token) for row, token, finished in batch],
            device=self.rows.device,
        )
