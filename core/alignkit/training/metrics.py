"""Names the numbers that the training loop itself reports, with their labels and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignkit.measure import Metric
from alignkit.objective import Objective

HELD_OUT = "held_out/"
"""What stands before a metric that was measured on held-out groups."""

LOSS, OPTIMIZED_REWARD, REWARDS, ROLLOUTS = "loss", "rollouts/reward", "rewards/", "rollouts/"
ACCEPTED, SAMPLING_SECONDS = "rollouts/accepted", "rollouts/seconds"
LEARNING_RATE, GRAD_NORM = "learning_rate", "grad_norm"
SPEED, MEMORY = "tokens_per_second", "memory_gb"

OF_A_TERM = {
    LOSS: Metric("loss"),
    OPTIMIZED_REWARD: Metric("optimized reward", detail=True),
    "rollouts/length": Metric("length", "tokens", detail=True),
    "rollouts/finished": Metric("finished", "share of completions", detail=True),
    "rollouts/abstained": Metric("without a score", "share of completions", detail=True),
    ACCEPTED: Metric("accepted", "share of prompts", detail=True),
    SAMPLING_SECONDS: Metric("time to sample", "seconds", detail=True),
    "rollouts/sampler_difference": Metric(
        "difference between sampler and trainer", "nats per token", detail=True
    ),
}
"""Numbers of each objective; in a mixture its name stands before them."""

OF_A_STEP = {
    LEARNING_RATE: Metric("learning rate", detail=True),
    GRAD_NORM: Metric("gradient norm", detail=True),
    SPEED: Metric("speed", "tokens per second", detail=True),
    MEMORY: Metric("peak memory", "GB", detail=True),
}


def prefix_of(objective: Objective, count: int) -> str:
    """Return what stands before the names of an objective's metrics: nothing where it is the only one."""
    return f"{objective.name}/" if count > 1 else ""


def metrics_of(
    objectives: Sequence[Objective], rewards: Sequence[str], rated: Sequence[str] = ()
) -> Mapping[str, Metric]:
    """Return the label and unit of each number, by its name in `metrics.jsonl` without `held_out/`.

    rewards: the names of the rewards that the samples of online objectives get. rated: roles with a learning
    rate of their own.
    """
    found = dict(OF_A_STEP)
    found |= {f"{LEARNING_RATE}/{role}": Metric(f"learning rate of {role}", detail=True) for role in rated}
    for objective in objectives:
        of_rewards = {f"{REWARDS}{name}": Metric(name) for name in rewards}
        prefix = prefix_of(objective, len(objectives))
        named = {**OF_A_TERM, **of_rewards, **objective.metrics}
        found |= {f"{prefix}{name}": metric for name, metric in named.items()}
    return found
