"""Rollouts at random, a tabular policy whose completions can all be listed, and what the engine does between
`prepare` and `loss`.
"""

from dataclasses import dataclass
from itertools import product

import torch

from alignkit import Loss, OnlineObjective, Rollouts

T = 6


def made(mask, group, rewards, **signals) -> Rollouts:
    """Rollouts from lists; finished where nothing else is said."""
    mask = torch.tensor(mask, dtype=torch.bool)
    tensors = {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in {"rewards": rewards, **signals}.items()
    }
    tensors = {
        "finished": torch.ones(len(mask), dtype=torch.float64),
        "logps": torch.zeros(mask.shape, dtype=torch.float64),
        **tensors,
    }
    return Rollouts(torch.zeros(mask.shape, dtype=torch.long), mask, torch.tensor(group), {}, tensors)


def random_rollouts(seed: int, groups: int = 4, largest: int = 4) -> Rollouts:
    """Groups of 2 to `largest` completions of 1 to T tokens, all signals there."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(2, largest + 1, (groups,), generator=generator)
    group = torch.arange(groups).repeat_interleave(sizes)
    count = len(group)
    mask = torch.arange(T)[None] < torch.randint(1, T + 1, (count, 1), generator=generator)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    signals = {
        "logps": -normal(count, T).abs() * mask,
        "reference_logps": -normal(count, T).abs() * mask,
        "values": normal(count, T) * mask,
        "rewards": normal(count),
        "finished": (torch.rand(count, generator=generator) < 0.5).double(),
    }
    return Rollouts(torch.arange(count)[:, None].repeat(1, T), mask, group, {}, signals)


def padded(rollouts: Rollouts, columns: int) -> Rollouts:
    """The same completions with more padding."""
    wider = lambda tensor: torch.nn.functional.pad(tensor, (0, columns)) if tensor.dim() == 2 else tensor
    signals = {name: wider(tensor) for name, tensor in rollouts.signals.items()}
    return Rollouts(wider(rollouts.tokens), wider(rollouts.mask), rollouts.group, {}, signals)


def at_loss(rollouts: Rollouts, **current: torch.Tensor) -> Rollouts:
    """What the engine hands to `loss`: log-probabilities at sampling as `old_logps`, present signals under
    their names.
    """
    return rollouts.with_(old_logps=rollouts.logps, **current)


def moved(rollouts: Rollouts, seed: int = 0, by: float = 0.3) -> dict[str, torch.Tensor]:
    """Present log-probabilities and values after some step of training, with gradient."""
    generator = torch.Generator().manual_seed(seed)
    noise = lambda: (
        by * torch.randn(rollouts.mask.shape, generator=generator, dtype=torch.float64) * rollouts.mask
    )
    return {name: (rollouts.signals[name] + noise()).requires_grad_() for name in ("logps", "values")}


def sums(loss: Loss) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ weight·terms and Σ weight."""
    weight = torch.ones_like(loss.terms) if loss.weight is None else loss.weight
    return (weight * loss.terms).sum(), weight.sum()


def mean(loss: Loss) -> torch.Tensor:
    """What the engine minimises."""
    total, weight = sums(loss)
    return total / weight


@dataclass(frozen=True)
class Language:
    """All completions over `vocabulary` tokens, of which 0 ends one, of at most `longest` tokens; a policy is
    a table of logits.
    """

    vocabulary: int
    longest: int

    @property
    def prefixes(self) -> list[tuple[int, ...]]:
        return [
            prefix
            for length in range(self.longest)
            for prefix in product(range(1, self.vocabulary), repeat=length)
        ]

    @property
    def completions(self) -> list[tuple[int, ...]]:
        ended = [(*prefix, 0) for prefix in self.prefixes]
        return ended + list(product(range(1, self.vocabulary), repeat=self.longest))

    @property
    def states(self) -> torch.Tensor:
        """(N, T) the number of the prefix before each token; 0 after the end."""
        number = {prefix: n for n, prefix in enumerate(self.prefixes)}
        rows = [[number[y[:t]] if t < len(y) else 0 for t in range(self.longest)] for y in self.completions]
        return torch.tensor(rows)

    @property
    def tokens(self) -> torch.Tensor:
        return torch.tensor([[*y, *[0] * (self.longest - len(y))] for y in self.completions])

    @property
    def mask(self) -> torch.Tensor:
        return torch.tensor([[t < len(y) for t in range(self.longest)] for y in self.completions])

    def logps(self, logits: torch.Tensor) -> torch.Tensor:
        """(N, T) of every completion, by logits (prefixes, V)."""
        return logits.log_softmax(-1)[self.states, self.tokens] * self.mask

    def value(
        self, logits: torch.Tensor, reference: torch.Tensor, rewards: torch.Tensor, beta: float
    ) -> torch.Tensor:
        """E[reward] − β·KL(π‖π_ref), by its definition."""
        logps = self.logps(logits).sum(-1)
        return (logps.exp() * (rewards - beta * (logps - self.logps(reference).sum(-1)))).sum()

    def rollouts(
        self,
        logits: torch.Tensor,
        reference: torch.Tensor,
        rewards: torch.Tensor,
        index: torch.Tensor,
        size: int = 1,
    ) -> Rollouts:
        """The completions that `index` names, in groups of `size`."""
        ones = torch.ones(len(self.completions), dtype=torch.float64)
        signals = {
            "logps": self.logps(logits),
            "reference_logps": self.logps(reference),
            "rewards": rewards,
            "finished": ones,
        }
        signals = {name: tensor.detach() for name, tensor in signals.items()}
        every = Rollouts(
            self.tokens, self.mask, torch.zeros(len(ones), dtype=torch.long), {}, signals
        ).select(index)
        return Rollouts(every.tokens, every.mask, torch.arange(len(index)) // size, {}, every.signals)


def trained(
    objective: OnlineObjective,
    language: Language,
    reference,
    rewards,
    *,
    steps: int,
    rate: float,
    seed: int = 0,
) -> torch.Tensor:
    """The probabilities (N,) of all completions after training a table, from the reference on, on 64 groups
    of samples a step.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = reference.clone().requires_grad_()
    values = torch.zeros(len(language.prefixes), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits, values], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    size = objective.samples_per_prompt
    for _ in range(steps):
        probabilities = language.logps(logits).sum(-1).exp().detach()
        index = probabilities.multinomial(64 * size, replacement=True, generator=generator)
        at = (language.states[index], language.tokens[index], language.mask[index])
        rollouts = language.rollouts(logits, reference, rewards, index, size)
        prepared = objective.prepare(
            rollouts.with_(values=values.detach()[at[0]] * at[2], number=torch.arange(len(index)))
        )
        states, tokens, mask = (tensor[prepared.number] for tensor in at)
        for _ in range(objective.epochs):
            present = {
                "logps": logits.log_softmax(-1)[states, tokens] * mask,
                "values": values[states] * mask,
            }
            optimizer.zero_grad()
            mean(objective.loss(at_loss(prepared, **present))).backward()
            optimizer.step()
        schedule.step()
    return language.logps(logits).sum(-1).exp().detach()


def optimum(language: Language, reference, rewards, beta: float) -> torch.Tensor:
    """π_ref·exp(r/β), normalised: where E[r] − β·KL is greatest."""
    return (language.logps(reference).sum(-1) + rewards / beta).softmax(-1)
