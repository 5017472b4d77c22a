"""Odd data and settings of stages that sample: long prompts, few positions, dropout, sharpened samples, a
reward model that is read.
"""

import json
import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from tiny_models import Silent
from tiny_runs import write_recipe
from torch import nn

from alignkit import Prompts, UserError
from alignkit.cli import main
from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.stages import workshop
from alignkit.stages.plan import make_plan
from alignkit.stages.train.work import make_roles
from alignkit.stages.workshop import Workshop

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
def shop(base, tmp_path):
    recipe = write_recipe(tmp_path, base, ONLINE)
    registry = Registry()
    return Workshop(
        make_plan(load_recipe(recipe), registry, tmp_path), registry, tmp_path, Silent(), Accelerator()
    )  # type: ignore[arg-type]


def run(monkeypatch, recipe: Path, out: Path, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["alignkit", "run", str(recipe), "--out", str(out), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_a_prompt_leaves_room_for_the_completion_to_be_sampled(shop):
    whole, cut = (shop.load("pairs", Prompts, 8, room) for room in (0, 6))
    assert max(len(group.prompt) for group in whole.groups) > 2
    assert [group.prompt for group in cut.groups] == [group.prompt[-2:] for group in whole.groups]


def test_no_more_tokens_are_used_than_the_base_has_positions_for(shop, monkeypatch):
    monkeypatch.setattr(workshop, "most_positions", lambda spec, registry: 4)
    assert shop.tokenization(1024).max_length == 4
    assert "max_length 1024 is more than the base has positions for; it is 4 here" in shop.display.notes
    assert shop.tokenization(1024, room=3).max_length == 1
    with pytest.raises(
        UserError, match="completions of 4 tokens leave no room for a prompt: the base has positions for 4"
    ):
        shop.tokenization(1024, room=4)


def test_a_method_that_learns_from_its_samples_trains_without_dropout_and_says_so(shop):
    planned = shop.plan.stages["one"]
    with make_roles(planned, shop, planned.stage) as roles:
        assert not [
            module for module in roles.model.modules() if isinstance(module, nn.Dropout) and module.p > 0
        ]
    assert any("dropout is off in this stage" in note for note in shop.display.notes)
    with shop.roles() as roles:
        roles.add("policy", trainable=True)
        assert [module for module in roles.model.modules() if isinstance(module, nn.Dropout) and module.p > 0]


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
    judge, one = (
        "  judge: {train: bradley-terry, on: pairs, steps: 3}\n",
        ("  one: {train: listener, on: pairs, steps: 1, reward: judge}"),
    )
    plugin = ("--plugin", str(tmp_path / "listener.py"))
    run(monkeypatch, write_recipe(tmp_path, base, judge + one), tmp_path, *plugin)
    (line,) = (tmp_path / "tiny" / "one" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["scores"] > 0, "a fresh head would say 0"
    registry = Registry([tmp_path / "listener.py"])
    for reward in ("", ", reward: length"):
        recipe = write_recipe(tmp_path, base, judge + one.replace(", reward: judge", reward))
        with pytest.raises(UserError, match="reads a reward model"):
            make_plan(load_recipe(recipe), registry, tmp_path)
