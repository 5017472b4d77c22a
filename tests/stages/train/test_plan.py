"""What a training stage plans: its line, what its result depends on, and what it refuses."""

import pytest

from alignkit import Batch, Loss, OnlineObjective, Prompts, UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Plugin, Registry
from alignkit.stages.plan import make_plan
from alignkit.stages.train.plan import HELD_OUT_ENTRY, PlannedTrain
from alignkit_raft import RewardRankedFineTuning

STAGES = {
    "sft": {"train": "sft", "on": "pairs"},
    "judge": {"train": "bradley-terry", "on": "pairs"},
}


class Unrewarded(OnlineObjective):
    """Learns from samples, and from no reward of them."""

    name = "unrewarded"
    data = Prompts
    rewarded = False

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps * batch.mask)


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.objectives.add(Plugin("test", "test", __file__), Unrewarded.name, Unrewarded)
    return found


@pytest.fixture
def plan(registry, tmp_path):
    def plan(**train) -> PlannedTrain:
        stages = {**STAGES, "one": {"on": "pairs", **train}}
        recipe = parse_recipe({"name": "x", "data": {"pairs": "owner/pairs"}, "stages": stages})
        found = make_plan(recipe, registry, tmp_path).stages["one"]
        assert isinstance(found, PlannedTrain)
        return found

    return plan


def test_its_line_tells_objectives_rewards_data_start_length_and_roles(plan):
    mixture = {"ppo": {"kl_coef": 0.1}, "sft": {"weight": 0.5}}
    reward = ["judge", {"length": {"weight": 0.1}}]
    assert plan(train=mixture, reward=reward, start="sft", steps=7).line == (
        "train ppo(kl_coef=0.1) + 0.5 × sft for judge + 0.1 × length on pairs, starting from sft: "
        "7 steps of 16 groups, learning rate 0.0001, trains policy, value"
    )
    assert plan(train="dpo", epochs=2).line == (
        "train dpo on pairs: 2 epochs of 16 groups, learning rate 0.0001, trains policy"
    )


def test_its_line_tells_rates_role_by_role_another_optimizer_and_observers(plan):
    one = plan(
        train="ppo",
        reward="judge",
        steps=7,
        learning_rate={"value": 1e-4, "policy": 1e-5},
        optimizer={"lora-plus": {"ratio": 8}},
        observers=["early-stopping", {"kl-alarm": {"limit": 3}}],
    )
    assert one.line == (
        "train ppo for judge on pairs: 7 steps of 16 groups, "
        "learning rate 1e-05 for policy, 0.0001 for value by lora-plus(ratio=8.0), trains policy, value, "
        "observed by early-stopping, kl-alarm(limit=3.0)"
    )
    assert {"learning_rate/policy", "learning_rate/value"} <= one.metrics.keys()


LOOKS = """
from alignkit import Observer, hookimpl

class Looks(Observer):
    name = "looks"

@hookimpl
def register_observers(register): register(Looks)
"""


def test_its_result_depends_on_the_optimizer_and_on_observers_that_may_stop_it_with_all_options(
    plan, tmp_path
):
    (tmp_path / "looks.py").write_text(LOOKS)
    registry = Registry([tmp_path / "looks.py"])
    stages = {
        name: {
            "train": "dpo",
            "on": "pairs",
            "optimizer": "lora-plus",
            "observers": [{"kl-alarm": {"limit": 3}}, *more],
        }
        for name, more in (("one", []), ("two", ["looks"]))
    }
    recipe = parse_recipe({"name": "x", "data": {"pairs": "owner/pairs"}, "stages": stages})
    one, two = make_plan(recipe, registry, tmp_path).stages.values()
    assert one.effective_settings["optimizer"] == {"lora-plus": {"ratio": 16.0}}
    assert one.effective_settings["observers"] == {"kl-alarm": {"metric": "objective/kl", "limit": 3.0}}
    assert one.effective_settings == two.effective_settings
    assert one.uses(registry) == two.uses(registry)
    assert [name for _, name in one.uses(registry)] == ["dpo", "lora-plus", "kl-alarm"]


def test_it_uses_objectives_registered_rewards_and_a_sampler_only_where_it_samples(plan, registry):
    assert [name for _, name in plan(train="dpo").uses(registry)] == ["dpo", "adamw"]
    online = plan(train="raft", reward="judge", watch="length").uses(registry)
    assert [name for _, name in online] == ["raft", "length", "engine", "adamw"]


def test_its_result_depends_on_the_objectives_and_not_on_how_often_it_is_saved(plan):
    one = plan(train={"dpo": {"beta": 0.2}}, save_every=3, keep_checkpoints=5)
    (term,) = one.terms
    assert (term.objective, term.weight, term.on) == ("dpo", 1.0, "pairs")
    assert term.trains == {"policy": "language-model"}
    assert term.options["beta"] == 0.2
    assert not {"train", "save_every", "keep_checkpoints", "trackers"} & one.effective_settings.keys()


def test_without_rewards_samples_may_be_watched_and_drawn_at_temperature_0(plan):
    one = plan(train="unrewarded", watch="length", sampling={"temperature": 0})
    assert one.rewards == ()
    assert [reward.name for reward in one.watch] == ["length"]
    assert plan(train={"unrewarded": {}, "raft": {}}, reward="length").rewards


def test_held_out_data_of_its_own_is_an_entry(plan, tmp_path):
    (tmp_path / "val.jsonl").write_text("")
    one = plan(train="dpo", held_out="./val.jsonl")
    assert one.entries == {HELD_OUT_ENTRY: one.held_out}
    assert "held_out" not in one.effective_settings
    assert plan(train="dpo", held_out=0.1).effective_settings["held_out"] == 0.1


def test_a_share_is_held_out_by_the_recipes_seed_whatever_the_stages(plan):
    settings = [plan(train="dpo", held_out=0.1, seed=seed).effective_settings for seed in (3, 4)]
    assert settings[0] == settings[1]
    assert settings[0]["split_by"] == 0
    assert "split_by" not in plan(train="dpo", seed=3).effective_settings


def test_its_metrics_have_the_units_that_plugins_declare(plan):
    found = plan(train="ppo", reward="judge", watch="length").metrics
    assert found["objective/kl"].divergence
    assert found["rewards/judge"].label == "judge"
    assert found["rewards/length"].label == "length"
    assert "rewards/judge" not in plan(train="dpo").metrics


def test_an_objective_that_learns_from_no_reward_needs_none(plan, monkeypatch):
    monkeypatch.setattr(RewardRankedFineTuning, "rewarded", False)
    assert plan(train="raft").rewards == ()


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"train": "raft"}, "learns from rewards, and the stage names none"),
        ({"train": "dpo", "reward": "length"}, "there is nothing to reward"),
        ({"train": "dpo", "watch": "length"}, "there is nothing to reward"),
        ({"train": "unrewarded", "reward": "length"}, "no objective of this stage learns from rewards"),
        ({"train": "dpo", "held_out": 1.5}, "a share lies between 0 and 1, found 1.5"),
        ({"train": "dpo", "start": "judge"}, "'judge' is a reward model"),
        ({"train": "dpo", "start": "pairs"}, "'pairs' is data; a train stage is needed here"),
        ({"train": "raft", "reward": "length", "sampling": {"temperature": 0}}, "none is better"),
        ({"train": "raft", "reward": "length", "watch": "length"}, "names 'length' twice"),
        ({"train": "dpo", "optimizer": "adam"}, "no optimizer is registered as 'adam'"),
        ({"train": "dpo", "learning_rate": {"value": 1.0}}, "trains no role 'value'"),
        (
            {"train": {"ppo": {"minibatches": 32}}, "reward": "judge"},
            "32 minibatches cannot be made of 16 prompts",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(plan, train, words):
    with pytest.raises(UserError, match=words):
        plan(**train)
