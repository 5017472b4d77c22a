"""alignkit's side of a comparison on fixed data: one workload in one process, reported as one JSON line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from accelerate import Accelerator
from workload import (
    ALPHA,
    BETA,
    LEARNING_RATE,
    MAX_LENGTH,
    RANK,
    SIZES,
    command_line,
    read_examples,
    report,
    seconds_now,
)

from alignkit import recipe
from alignkit.data.checking import adapt
from alignkit.data.order import epoch_order
from alignkit.data.tokenizing import Tokenization
from alignkit.example import Example
from alignkit.models.base import load_base
from alignkit.models.computing import compute_signals, forward_budget
from alignkit.models.roles import Roles
from alignkit.registry import Registry
from alignkit.run.folder import StageFolder
from alignkit.training.sources import fixed_source
from alignkit.training.terms import TrainingTerm
from alignkit.training.trainer import Trainer
from alignkit_adamw import AdamW

OBJECTIVES = {
    "dpo": ("dpo", {"beta": BETA}),
    "dpo-cached": ("dpo", {"beta": BETA}),
    "reward": ("bradley-terry", {}),
    "sft": ("sft", {}),
}


class Silent:
    """No display."""

    def note(self, text: str) -> None:
        """Nothing."""

    def advance(
        self, task: str, done: int, total: int, values: Mapping[str, float], *, left: float | None = None
    ) -> None:
        """Nothing."""

    def brief(self, when: str, prompt: str, answer: str) -> None:
        """Nothing."""

    def recall(self, task: str, records: Sequence[Mapping[str, float]]) -> None:
        """Nothing."""

    def table(self, targets: Mapping) -> None:
        """Nothing."""


def example(row: dict) -> Example:
    """A row of the workload as alignkit sees it."""
    if "completion" in row:
        return Example(row["prompt"], (row["completion"],))
    return Example(row["prompt"], (row["chosen"], row["rejected"]), {"rank": (0.0, 1.0)})


def main() -> None:
    """Run one workload."""
    parser = command_line(__doc__, OBJECTIVES)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", type=int, default=recipe.Training().micro_batch_tokens)
    args = parser.parse_args()

    registry, accelerator = Registry(), Accelerator()
    name, options = OBJECTIVES[args.work]
    objective = registry.objectives.get(name)(**options)
    base = load_base(
        recipe.Model(base=args.model, quantization="nf4", dtype=args.dtype), registry, accelerator.device
    )
    size = SIZES[args.work]
    tokenization = Tokenization(base.tokenizer, MAX_LENGTH)
    rows = read_examples(args.data, size.groups * args.steps, base.tokenizer)
    encoded = [tokenization.encode(adapt(example(row), objective.data)) for row in rows]
    order = epoch_order(0, 0, len(encoded))
    # so that the shuffled order is the file's, as on the other side
    groups = [encoded[order.index(i)] for i in range(len(encoded))]
    roles = Roles(base, recipe.Lora(r=RANK, alpha=ALPHA), seed=0)
    for role in sorted(objective.trains):
        roles.add(role, trainable=True)
    for role in sorted(objective.reads):
        roles.add(role, trainable=False)
    settings = recipe.Training(
        learning_rate=LEARNING_RATE,
        batch_size=size.groups,
        micro_batch_tokens=args.tokens,
        schedule="constant",
        warmup=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        place, display = StageFolder(Path(folder)), Silent()
        source = fixed_source(
            objective,
            groups,
            roles,
            settings,
            folder=place.signals("train"),
            seed=0,
            note=display.note,
        )
        term = TrainingTerm(objective, 1.0, source)
        trainer = Trainer(roles, [term], settings, folder=place, display=display, seed=0, optimizer=AdamW())
        if objective.reads:  # warm up, as the steps do that are left out of the timing
            budget = forward_budget(args.tokens)
            compute_signals(roles, groups[: size.groups], sorted(objective.reads), budget)
        began = seconds_now()
        trainer.open()
        reference = (seconds_now() - began) / len(groups) if args.work == "dpo" else 0.0
        seconds = []
        for step in range(args.steps):
            began = seconds_now()
            trainer.step(step)
            seconds.append(seconds_now() - began)
    timed = encoded[size.warm_up * size.groups :]
    tokens = sum(group.tokens for group in timed) / len(timed)
    predicted = sum(len(completion) for group in timed for completion in group.completions) / len(timed)
    print(
        report(
            args.work,
            "alignkit",
            str(base.dtype).removeprefix("torch."),
            seconds,
            extra_seconds_per_group=reference,
            needed_gflop=needed_gflop(base.model, args.work, tokens, predicted),
        )
    )


def needed_gflop(model, work: str, tokens: float, predicted: float) -> float:
    """10⁹ operations that a group needs: 2·parameters a token forward, 2 more for the backward through a
    frozen base, 2 for a reference.
    """
    layers, head = parameter_counts(model)
    per_parameter = 6 if work == "dpo" else 4
    return per_parameter * (tokens * layers + (0 if work == "reward" else predicted * head)) / 1e9


def parameter_counts(model) -> tuple[int, int]:
    """Frozen parameters that every token passes, in the layers and in the language-model head."""
    layers = sum(
        p.quant_state.shape.numel() if hasattr(p, "quant_state") else p.numel()
        for p in model.base_model.layers.parameters()
        if not p.requires_grad
    )
    return layers, model.get_output_embeddings().weight.numel()


if __name__ == "__main__":
    main()
