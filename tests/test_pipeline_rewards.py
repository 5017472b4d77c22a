"""Whole runs with rewards that use the engine, that are async, and that give numbers for steps; and the
seeds of stages.
"""

import json
from pathlib import Path

import pytest
from online_runs import recipe_of
from tiny_runs import kill_once, run

from alignkit.run.folder import StageFolder
from alignkit.run.manifest import read_manifest

PLUGIN = """
import asyncio

from alignkit import Reward, hookimpl


class Judged(Reward):
    name = "judged"
    uses = {"policy", "judge"}

    def score(self, prompts, completions, engine, **columns):
        texts = [prompt + completion for prompt, completion in zip(prompts, completions)]
        said = engine.generate("judge", texts, max_tokens=3, temperature=1.0, seed=2)
        likely = engine.logps("policy", prompts, completions)
        return [len(text) / 10 + sum(logps) / len(logps) for [text], logps in zip(said, likely)]


async def halves(prompts, completions, **columns):
    await asyncio.sleep(0)
    return [[(len(text) // 2, 0.5), (len(text), 1.0)] if len(text) > 1 else [] for text in completions]


@hookimpl
def register_rewards(register):
    register(Judged)
    register(halves)
"""
STAGES = """  sft: {train: sft, on: pairs, steps: 2}
  drawn: {sample: sft, on: pairs, per_prompt: 2, max_tokens: 5}
  other: {sample: sft, on: pairs, per_prompt: 2, max_tokens: 5, seed: 7}
  same: {sample: sft, on: pairs, per_prompt: 2, max_tokens: 5}
  ranked: {label: drawn, by: {judged: {roles: {judge: base}}, halves: {weight: 0.5}}}
  ppo:
    train: {ppo: {samples_per_prompt: 2, epochs: 1, minibatches: 1}}
    on: pairs
    start: sft
    reward: {judged: {roles: {judge: sft}}, halves: {standardize: true}}
    steps: 3
    save_every: 1
  compared:
    evaluate: [sft, {ppo: {best_of: 2, by: {judged: {roles: {policy: sft, judge: base}}}}}]
    on: shorter
    by: [{judged: {roles: {policy: ppo, judge: sft}}}, halves]
    max_tokens: 5
"""


def prepared(folder: Path, base: Path) -> tuple[Path, list[str]]:
    (folder / "mine.py").write_text(PLUGIN)
    return recipe_of(folder, base, STAGES), ["--plugin", str(folder / "mine.py")]


@pytest.fixture(scope="module")
def made(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rewards")
    recipe, plugins = prepared(folder, base)
    run(recipe, folder, *plugins)
    return folder / "tiny"


def test_rewards_use_the_engine_in_every_verb(made):
    rows = [json.loads(line) for line in (made / "ranked" / "ranked.jsonl").read_text().splitlines()]
    assert len({reward for row in rows for reward in row["rewards"]}) > 10
    evaluation = json.loads((made / "compared" / "evaluation.json").read_text())
    assert evaluation["rewards"] == ["judged", "halves"]
    assert evaluation["targets"]["sft"]["halves"]["mean"] > 0
    metrics = [json.loads(line) for line in (made / "ppo" / "metrics.jsonl").read_text().splitlines()]
    assert {"rewards/judged", "rewards/halves"} <= set().union(*metrics)


def test_the_stages_that_play_roles_are_among_what_a_stage_reads(made):
    reads = {name: read_manifest(StageFolder(made / name)).inputs.reads for name in ("ranked", "compared")}
    assert set(reads["ranked"]) == {"drawn", "sft"}
    assert set(reads["compared"]) == {"shorter", "sft", "ppo"}


def test_equal_stages_draw_the_same_and_a_seed_of_its_own_draws_others(made):
    drawn, other, same = ((made / name / "samples.jsonl").read_text() for name in ("drawn", "other", "same"))
    assert drawn == same != other
    assert read_manifest(StageFolder(made / "other")).inputs.seed == 7


def test_a_killed_run_with_a_judge_ends_with_the_same_bits(base, made, tmp_path):
    recipe, plugins = prepared(tmp_path, base)
    first = tmp_path / "tiny" / "ppo" / "rollouts" / "ppo" / "000001"
    kill_once(recipe, tmp_path, first.exists, *plugins)
    assert not (tmp_path / "tiny" / "ppo" / "adapter").exists()
    run(recipe, tmp_path, *plugins)
    file = Path("ppo") / "adapter" / "adapter_model.safetensors"
    assert (tmp_path / "tiny" / file).read_bytes() == (made / file).read_bytes()
