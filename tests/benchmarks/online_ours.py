"""alignkit's side of a comparison of methods that sample: a recipe's training stage as `alignkit run` runs
it, as one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from accelerate import Accelerator
from ours import parameter_counts
from workload import (
    ALPHA,
    KL_COEF,
    LEARNING_RATE,
    MAX_LENGTH,
    NEW_TOKENS,
    ONLINE,
    RANK,
    SIZES,
    command_line,
    read_prompts,
    report,
    seconds_now,
)

from alignkit import recipe
from alignkit.data.order import epoch_order
from alignkit.objective import updates_per_batch
from alignkit.recipe import parse_recipe
from alignkit.registry import Registry
from alignkit.run.folder import RunFolder
from alignkit.stages.context import RunContext, make_context
from alignkit.stages.plan import make_plan
from alignkit.stages.working import work_on
from alignkit.training.rollout_files import RolloutFiles

OBJECTIVES = {
    "rloo": ("reinforce", {"samples_per_prompt": 4}),
    "ppo": ("ppo", {"samples_per_prompt": 1, "epochs": 4, "minibatches": 1}),
}


class Clock:
    """A display that shows nothing and keeps when each optimizer step ended, and the metrics of it."""

    def __init__(self) -> None:
        self.marks: list[float] = [seconds_now()]
        self.metrics: list[Mapping[str, float]] = []

    def note(self, text: str) -> None:
        """Nothing."""

    def advance(
        self, task: str, done: int, total: int, values: Mapping[str, float], *, left: float | None = None
    ) -> None:
        """Note the end of a step."""
        if task == "train" and values:
            self.marks.append(seconds_now())
            self.metrics.append(values)

    def brief(self, when: str, prompt: str, answer: str) -> None:
        """Nothing."""

    def recall(self, task: str, records: Sequence[Mapping[str, float]]) -> None:
        """Nothing."""

    def table(self, targets: Mapping) -> None:
        """Nothing."""


def main() -> None:
    """Run one workload."""
    parser = command_line(__doc__, ONLINE)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", type=int, default=recipe.Training().micro_batch_tokens)
    args = parser.parse_args()

    registry, clock = Registry(), Clock()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_prompts(args, folder / "prompts.jsonl")
        plan = make_plan(parse_recipe(stages(args, folder)), registry, folder)
        planned = plan.stages[args.work]
        run = RunFolder(folder)
        context = make_context(plan, registry, run, clock, Accelerator().device)
        if args.work == "ppo":
            write_reward_model(context, run.stage("judge").adapter)
        stage = run.stage(args.work)
        work_on(planned, context, stage)
        objective = planned.objectives[0].objective
        samples = RolloutFiles(stage.rollouts(objective.name)).read_samples(args.steps - 1) or []
        tokenization = context.base.tokenization(MAX_LENGTH)
        prompts = [tokenization.prompt_ids(line["prompt"]) for line in samples]
    base = context.base.base
    updates = updates_per_batch(objective)
    seconds = [clock.marks[k + updates] - clock.marks[k] for k in range(0, updates * args.steps, updates)]
    sampled = clock.metrics[::updates]
    prompt_tokens = sum(map(len, prompts)) / len(prompts)
    print(
        report(
            args.work,
            "alignkit",
            str(base.dtype).removeprefix("torch."),
            seconds,
            needed_gflop=needed_gflop(base.model, args.work, prompt_tokens),
            prompt_tokens=prompt_tokens,
            new_tokens=sampled[-1]["rollouts/length"],
            sampling_seconds=[round(values["rollouts/seconds"], 3) for values in sampled],
        )
    )


def stages(args: argparse.Namespace, folder: Path) -> dict:
    """The recipe. Of its reward model only the name and the roles matter: `write_reward_model` makes it."""
    name, options = OBJECTIVES[args.work]
    judged = {"judge": {"train": "bradley-terry", "on": "prompts"}} if args.work == "ppo" else {}
    size = SIZES[args.work]
    updates = options.get("epochs", 1) * options.get("minibatches", 1)
    return {
        "name": "bench",
        "model": {
            "base": args.model,
            "quantization": "nf4",
            "dtype": args.dtype,
            "lora": {"r": RANK, "alpha": ALPHA},
        },
        "data": {"prompts": {"path": str(folder / "prompts.jsonl")}},
        "training": {
            "learning_rate": LEARNING_RATE,
            "batch_size": size.groups,
            "steps": args.steps * updates,
            "schedule": "constant",
            "warmup": 0,
            "max_length": MAX_LENGTH,
            "micro_batch_tokens": args.tokens,
            "save_every": 1_000_000,
            "sampling": {"min_tokens": NEW_TOKENS, "max_tokens": NEW_TOKENS},
        },
        "stages": {
            **judged,
            args.work: {
                "train": {name: {"kl_coef": KL_COEF, **options}},
                "on": "prompts",
                "reward": "judge" if judged else "sentiment",
            },
        },
    }


def write_prompts(args: argparse.Namespace, file: Path) -> None:
    """The prompts in such an order that the first epoch's shuffle brings them back to that of the data, as on
    the other side.
    """
    rows = read_prompts(args.data, SIZES[args.work].groups * args.steps)
    order = epoch_order(0, 0, len(rows))
    file.write_text("".join(json.dumps(rows[order.index(place)]) + "\n" for place in range(len(rows))))


def write_reward_model(context: RunContext, folder: Path) -> None:
    """A reward model that was not trained: what it costs is the same."""
    with context.base.roles(context.seed) as roles:
        roles.add("reward", trainable=True)
        roles.save("reward", folder)


def needed_gflop(model, work: str, prompt: float) -> float:
    """10⁹ operations that a sample needs, its prompt's tokens shared by all samples of the prompt.

    2·parameters a token: to sample, for the policy and the reference at sampling, and for each update forward
    and backward (4); for PPO also the values and the reward model at sampling, and the values in each update.
    The heads of those two are next to nothing.
    """
    layers, head = parameter_counts(model)
    updates = OBJECTIVES[work][1].get("epochs", 1)
    of_policy, of_others = 6 + 4 * updates, 4 + 4 * updates if work == "ppo" else 0
    tokens = prompt / SIZES[work].per_group + NEW_TOKENS
    return ((of_policy + of_others) * tokens * layers + of_policy * NEW_TOKENS * head) / 1e9


if __name__ == "__main__":
    main()
