"""Odd data and settings of stages that sample: long prompts, few positions, dropout, sharpened samples, a
reward model that is read.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import Silent
from tiny_runs import write_recipe
from torch import nn

from alignkit import Prompts, UserError
from alignkit.cli import main
from alignkit.models import shared
from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.run.folder import RunFolder
from alignkit.stages.context import make_context
from alignkit.stages.plan import make_plan
from alignkit.stages.train.roles import make_roles

ONLINE = "  one: {train: reinforce, on: pairs, reward: length, steps: 1}"
CONSTANT = """from alignkit import hookimpl


def constant(prompts, completions, **columns):
    return [1.0] * len(completions)


@hookimpl
def register_rewards(register):
    register(constant)
"""
LISTENER = """from alignkit import Loss, Objective, Preferences, hookimpl


class Listener(Objective):
    name, data, reads = "listener", Preferences, frozenset({"reward"})

    def loss(self, batch):
        assert not batch.scores.requires_grad
        logps = (batch.logps * batch.mask).sum(-1)
        return Loss(-batch.scores.detach() * logps, metrics={"scores": batch.scores.abs()})


@hookimpl
def register_objectives(register):
    register(Listener)
"""


@pytest.fixture
def planned(base, tmp_path):
    """The planned stage, and the context of its run."""
    registry = Registry()
    plan = make_plan(load_recipe(write_recipe(tmp_path, base, ONLINE)), registry, tmp_path)
    context = make_context(plan, registry, RunFolder(tmp_path), Silent(), torch.device("cpu"))
    return plan.stages["one"], context


def run(monkeypatch, recipe: Path, out: Path, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["alignkit", "run", str(recipe), "--out", str(out), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_a_prompt_leaves_room_for_the_completion_to_be_sampled(planned):
    _, context = planned
    whole, cut = (context.data.load("pairs", Prompts, 8, room) for room in (0, 6))
    assert max(len(group.prompt) for group in whole.groups) > 2
    assert [group.prompt for group in cut.groups] == [group.prompt[-2:] for group in whole.groups]


def test_no_more_tokens_are_used_than_the_base_has_positions_for(planned, monkeypatch):
    _, context = planned
    monkeypatch.setattr(shared, "most_positions", lambda spec, registry: 4)
    assert context.base.tokenization(1024).max_length == 4
    told = "max_length 1024 is more than the base has positions for; it is 4 here"
    assert told in context.display.notes
    assert context.base.tokenization(1024, room=3).max_length == 1
    with pytest.raises(
        UserError, match="completions of 4 tokens leave no room for a prompt: the base has positions for 4"
    ):
        context.base.tokenization(1024, room=4)


def dropouts(roles):
    return [module for module in roles.model.modules() if isinstance(module, nn.Dropout) and module.p > 0]


def test_a_method_that_learns_from_its_samples_trains_without_dropout_and_says_so(planned):
    stage, context = planned
    with make_roles(stage, context) as roles:
        assert not dropouts(roles)
    assert any("dropout is off in this stage" in note for note in context.display.notes)
    with context.base.roles(0) as roles:
        roles.add("policy", trainable=True)
        assert dropouts(roles)


def evaluation(monkeypatch, base, folder: Path, settings: str) -> dict:
    (folder / "constant.py").write_text(CONSTANT)
    target = "{base: {best_of: 4, by: constant}}"
    stage = (
        f"  seen: {{evaluate: [base, {target}], on: pairs, by: [constant, kl], max_tokens: 4, {settings}}}"
    )
    run(monkeypatch, write_recipe(folder, base, stage), folder, "--plugin", str(folder / "constant.py"))
    return json.loads((folder / "tiny" / "seen" / "evaluation.json").read_text())["targets"]


def test_the_best_of_samples_that_a_reward_does_not_tell_apart_is_at_no_distance(monkeypatch, base, tmp_path):
    found = evaluation(monkeypatch, base, tmp_path, "temperature: 1")
    assert found["base best of 4"]["kl"]["mean"] == pytest.approx(0, abs=1e-6)


def test_samples_that_are_sharpened_or_cut_off_give_no_divergence(monkeypatch, base, tmp_path, capsys):
    found = evaluation(monkeypatch, base, tmp_path, "temperature: 0.5")
    assert found["base"]["kl"] == {"mean": None, "low": None, "high": None, "count": 0}
    assert "no divergence can be estimated" in "".join(capsys.readouterr())


def test_an_offline_objective_reads_the_reward_model_that_the_stage_names(monkeypatch, base, tmp_path):
    (tmp_path / "listener.py").write_text(LISTENER)
    stages = (
        "  judge: {train: bradley-terry, on: pairs, steps: 3}\n"
        "  one: {train: listener, on: pairs, steps: 1, reward: judge}"
    )
    plugin = ("--plugin", str(tmp_path / "listener.py"))
    run(monkeypatch, write_recipe(tmp_path, base, stages), tmp_path, *plugin)
    (line,) = (tmp_path / "tiny" / "one" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["scores"] > 0, "a fresh head would say 0"
    registry = Registry([tmp_path / "listener.py"])
    for reward in ("[]", "length"):
        recipe = write_recipe(tmp_path, base, stages, f"stages.one.reward={reward}")
        with pytest.raises(UserError, match="reads a reward model"):
            make_plan(load_recipe(recipe), registry, tmp_path)
