"""A whole pipeline on disk as a run leaves it: every verb, and one stage that was interrupted."""

from pathlib import Path

from fake_run import (
    offline_metrics,
    online_metrics,
    policy_measures,
    write_evaluation,
    write_reward_evaluation,
    write_stage,
    write_train,
)


def write_run(run: Path) -> Path:
    """Write a whole pipeline whose last training stage was interrupted."""
    _write_data(run)
    _write_training(run)
    write_reward_evaluation(run)
    targets = {
        "base": policy_measures(0.12, 0.1, 0.0, 44),
        "sft": policy_measures(0.21, 0.4, 1.2, 40),
        "dpo": policy_measures(0.42, 1.1, 6.5, 37),
        "ppo": policy_measures(0.47, 2.6, 17.0, 29),
    }
    write_evaluation(run, "compare", targets, reads=["sft", "dpo", "ppo", "reward"])
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
    )
    write_stage(
        run,
        "ranked",
        "label",
        line="label samples by sentiment with choice noise of temperature 0.5",
        settings={"label": "samples", "by": [{"reward": "sentiment", "weight": 1.0}], "noise": 0.5},
        reads=["samples"],
        summary={"prompts": 500, "mean_reward": 0.21},
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
    write_train(
        run,
        "dpo",
        "dpo",
        offline_metrics(200, pairs=True, seed=2),
        start="sft",
        reads=["ranked"],
        options={"beta": 0.1},
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
