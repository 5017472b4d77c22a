"""A whole pipeline on disk as a run leaves it: every verb, two seeds, and a stage that was interrupted."""

import json
from pathlib import Path

from fake_run import (
    answer,
    data_report,
    offline_metrics,
    online_metrics,
    policy_measures,
    write_evaluation,
    write_reward_evaluation,
    write_stage,
    write_train,
)

from alignkit.run.folder import RunFolder
from alignkit.run.kept_recipe import KeptRecipe, RecipeSource, keep_recipe

RECIPE = "name: rlhf  # made up & <b>not bold</b>\nmodel: {base: tiny-model}\n"
STAGES = (
    "sft",
    "samples",
    "ranked",
    "reward",
    "dpo-seed-1",
    "dpo-seed-2",
    "ppo",
    "judge",
    "compare",
    "unlikelihood",
    "exported",
)
"""The recipe's stages in its order; the last one is not begun."""


COST = {
    "quantization": "nf4",
    "block_size": 64,
    "dtype": "float32",
    "loss": 2.6,
    "unquantized": 2.19,
    "cost": 0.41,
    "low": 0.35,
    "high": 0.47,
    "completions": 32,
    "tokens": 900,
    "of": "comparisons",
}


def previews() -> str:
    """Samples of two prompts after 0, 10 and 20 steps; the last line is still being written."""
    lines = [
        {"step": step, "prompt": f"Preview {prompt}?", "completions": [f"after {step} steps"]}
        for step in (0, 10, 20)
        for prompt in (1, 2)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 30, "pro'


def write_run(run: Path) -> Path:
    """Write a whole pipeline whose last training stage was interrupted."""
    _write_data(run)
    _write_training(run)
    write_reward_evaluation(run)
    source = RecipeSource("recipes/rlhf.yaml", RECIPE, ("training.steps=200",))
    keep_recipe(RunFolder(run), KeptRecipe(STAGES, {"name": "rlhf", "seed": 0}, source))
    targets = {
        "base": policy_measures(0.12, 0.1, 0.0, 44),
        "sft": policy_measures(0.21, 0.4, 1.2, 40),
        "dpo": policy_measures(0.42, 1.1, 6.5, 37),
        "ppo": policy_measures(0.47, 2.6, 17.0, 29),
    }
    each = {
        "dpo": {
            "dpo-seed-1": policy_measures(0.36, 0.9, 6.1, 38),
            "dpo-seed-2": policy_measures(0.48, 1.3, 6.9, 36),
        }
    }
    reads = ["sft", "dpo-seed-1", "dpo-seed-2", "ppo", "reward"]
    write_evaluation(run, "compare", targets, reads=reads, each=each)
    return run


def _write_data(run: Path) -> None:
    """Write what the methods learn from, and the stage that draws it."""
    write_train(run, "sft", "sft", offline_metrics(200, pairs=False))
    write_stage(
        run,
        "samples",
        "sample",
        line="sample 4 completions per prompt of prompts from sft, at most 64 tokens each",
        settings={"sample": "sft", "on": "prompts", "per_prompt": 4},
        reads=["prompts", "sft"],
        summary={"prompts": 500, "completions": 2000, "finished": 0.93},
        files={"samples.jsonl": answer("Where is the bridge?", ["Over the river.", "Where?"])},
    )
    write_stage(
        run,
        "ranked",
        "label",
        line="label samples by sentiment with choice noise of temperature 0.5",
        settings={"label": "samples", "by": [{"reward": "sentiment", "weight": 1.0}], "noise": 0.5},
        reads=["samples"],
        summary={"prompts": 500, "mean_reward": 0.21},
        files={
            "ranked.jsonl": answer(
                "Where is the bridge?", ["so-so", "worst", "best"], ranks=[1, 2, 0], rewards=[0.1, -3.0, 0.9]
            )
        },
    )


def _write_training(run: Path) -> None:
    """Write one stage for each method."""
    write_train(
        run,
        "reward",
        "bradley-terry",
        offline_metrics(200, pairs=True, seed=1),
        start="sft",
        reads=["ranked"],
    )
    for seed in (1, 2):
        write_train(
            run,
            f"dpo-seed-{seed}",
            "dpo",
            offline_metrics(200, pairs=True, seed=2 + seed),
            start="sft",
            reads=["ranked"],
            options={"beta": 0.1},
            files={"data.json": data_report()},
        )
    write_train(
        run,
        "ppo",
        "ppo",
        online_metrics(150),
        start="sft",
        reads=["reward"],
        settings={
            "reward": [{"reward": "reward", "weight": 1.0, "options": {}}],
            "watch": [{"reward": "sentiment", "weight": 1.0}],
        },
        options={"kl_coef": 0.05},
        files={
            "previews.jsonl": previews(),
            "rollouts/ppo/000007.jsonl": answer("What is new?", ["little", "much"]),
            "rollouts/ppo/000007.scores.json": json.dumps(
                {"total": [[0.5, 1.5]], "each": {"reward": [[0.5, 1.5]]}}
            ),
            "rollouts/ppo/000008.jsonl": answer("What is not scored yet?", ["this", "that"]),
            "quantization.json": json.dumps(COST),
        },
    )
    write_train(
        run,
        "unlikelihood",
        "unlikelihood",
        offline_metrics(90, pairs=True, seed=3),
        start="sft",
        reads=["ranked"],
        done=False,
    )
