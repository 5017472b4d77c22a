"""What a training stage's roles are: bound in the recipe, with a start, another prompt, or moving."""

import pytest

from alignkit import Batch, Field, Loss, Objective, OnlineObjective, Preferences, Prompts, Role, UserError
from alignkit.recipe import parse_recipe
from alignkit.registry import Plugin, Registry
from alignkit.stages.plan import make_plan


class Distil(Objective):
    """Learns a teacher's distribution."""

    name = "distil"
    data = Preferences
    reads = {"teacher"}
    roles = {"teacher": "language-model"}
    over_vocabulary = {"kl": lambda policy, teacher: (teacher.exp() * (teacher - policy)).sum(-1)}

    def loss(self, batch: Batch) -> Loss:
        return Loss(batch.kl)


class Twin(OnlineObjective):
    """Trains a second language model beside the policy, and reads a reward of another name."""

    name = "twin"
    data = Prompts
    trains = {"policy", "judge"}
    reads = {"safety"}
    roles = {"judge": "language-model", "safety": "reward"}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-(batch.logps + batch.judge_logps) * batch.mask)


class Generative(Objective):
    """A reward model whose own log-probabilities are regularized."""

    name = "generative"
    data = Preferences
    trains = {"reward", "writer"}
    roles = {"writer": Role("language-model", shares="reward")}
    weight_of_text: float = Field(0.1, ge=0)

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.scores)


class Process(Objective):
    """Trains a value model of another name."""

    name = "process"
    data = Preferences
    trains = {"prm"}
    roles = {"prm": "value"}

    def loss(self, batch: Batch) -> Loss:
        return Loss(batch.prm_values)


class Moving(Objective):
    """Needs a reference that moves."""

    name = "moving"
    data = Preferences
    reads = {"reference"}
    roles = {"reference": Role("language-model", follows="policy")}

    def loss(self, batch: Batch) -> Loss:
        return Loss(batch.reference_logps - batch.logps)


class Weighs(Objective):
    """Reads a value model."""

    name = "weighs"
    data = Preferences
    reads = {"value"}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps * batch.values)


class Scored(Objective):
    """Reads a reward model."""

    name = "scored"
    data = Preferences
    reads = {"reward"}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps * batch.scores[:, None])


class Critic(Objective):
    """Trains a value model, and reads a slow copy of it."""

    name = "critic"
    data = Preferences
    trains = {"value"}
    reads = {"slow"}
    roles = {"slow": Role("value", follows="value")}

    def loss(self, batch: Batch) -> Loss:
        return Loss((batch.values - batch.slow_values) ** 2)


class Mistaken(Objective):
    """Reads, by a property, a role that it does not declare; the registry cannot see it."""

    name = "mistaken"
    data = Preferences

    @property
    def reads(self):
        return {"teacher"}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.logps)


class Doubtful(Objective):
    """Reads a teacher, and the same adapter under another name."""

    name = "doubtful"
    data = Preferences
    reads = {"teacher", "twin"}
    roles = {"teacher": "language-model", "twin": Role("language-model", shares="teacher")}

    def loss(self, batch: Batch) -> Loss:
        return Loss(batch.twin_logps - batch.logps)


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    for cls in (Distil, Twin, Generative, Process, Moving, Weighs, Scored, Critic, Mistaken, Doubtful):
        found.objectives.add(Plugin("test", "test", __file__), cls.name, cls)
    return found


BEFORE = {
    "sft": {"train": "sft", "on": "pairs"},
    "other": {"train": "sft", "on": "pairs"},
    "rm": {"train": "bradley-terry", "on": "pairs", "start": "sft"},
    "rm2": {"train": "generative", "on": "pairs", "start": "sft"},
    "prm": {"train": "process", "on": "pairs", "start": "sft"},
}


def roles_in(registry, tmp_path, **stage):
    (tmp_path / "pairs.jsonl").write_text("")
    recipe = parse_recipe(
        {
            "name": "test",
            "data": {"pairs": str(tmp_path / "pairs.jsonl")},
            "stages": {**BEFORE, "last": {"on": "pairs", **stage}},
        }
    )
    plan = make_plan(recipe, registry, tmp_path)
    return {role.name: role for role in plan.stages["last"].roles}, plan.stages["last"]


def test_without_a_binding_the_reference_is_the_start(registry, tmp_path):
    roles, stage = roles_in(registry, tmp_path, train="dpo", start="sft")
    assert {name: (role.start, role.trainable) for name, role in roles.items()} == {
        "policy": ("sft", True),
        "reference": ("sft", False),
    }
    assert "reference is" not in stage.line


def test_a_role_may_have_another_start_than_the_policy(registry, tmp_path):
    roles, stage = roles_in(registry, tmp_path, train="dpo", start="sft", roles={"reference": "other"})
    assert (roles["policy"].start, roles["reference"].start) == ("sft", "other")
    assert set(stage.needs) == {"pairs", "sft", "other"}
    assert "reference is other" in stage.line
    roles, _ = roles_in(registry, tmp_path, train="dpo", start="sft", roles={"reference": "base"})
    assert roles["reference"].start is None


def test_a_reference_may_follow_the_policy(registry, tmp_path):
    binding = {"follow": "policy", "rate": 0.5, "every": 10}
    roles, stage = roles_in(registry, tmp_path, train="dpo", start="sft", roles={"reference": binding})
    reference = roles["reference"]
    assert (reference.start, reference.follow, reference.rate, reference.every) == ("sft", "policy", 0.5, 10)
    assert "reference moves towards policy by 0.5 every 10 steps" in stage.line


def test_a_role_that_has_to_follow_is_bound_with_a_rate(registry, tmp_path):
    roles, _ = roles_in(registry, tmp_path, train="moving", roles={"reference": {"follow": "policy"}})
    assert (roles["reference"].follow, roles["reference"].rate) == ("policy", 1.0)


def test_a_teacher_may_read_after_another_prompt(registry, tmp_path):
    roles, stage = roles_in(
        registry, tmp_path, train="distil", roles={"teacher": {"start": "sft", "prompt": "hinted"}}
    )
    assert (roles["teacher"].kind, roles["teacher"].prompt) == ("language-model", "hinted")
    assert stage.prompts == {"hinted"}


def test_a_second_trained_language_model_starts_as_the_stage_does(registry, tmp_path):
    roles, stage = roles_in(
        registry, tmp_path, train="twin", start="sft", reward="length", roles={"safety": "rm"}
    )
    assert {name: role.start for name, role in roles.items()} == {
        "policy": "sft",
        "judge": "sft",
        "safety": "rm",
    }
    assert stage.terms[0].trains == {"policy": "language-model", "judge": "language-model"}


def test_a_role_that_shares_an_adapter_comes_after_its_owner(registry, tmp_path):
    roles, stage = roles_in(registry, tmp_path, train="generative", start="sft")
    assert list(roles) == ["reward", "writer"]
    assert (roles["writer"].shares, roles["writer"].start) == ("reward", None)
    assert stage.terms[0].trains == {"reward": "reward"}


def test_a_model_with_a_shared_writer_is_a_reward_model(registry, tmp_path):
    roles, _ = roles_in(registry, tmp_path, train="ppo", start="sft", reward="rm2")
    assert roles["value"].start == "rm2"


def test_a_value_model_of_another_name_is_found_by_its_kind(registry, tmp_path):
    (tmp_path / "x").mkdir()

    class Reads(Process):
        name = "reads-prm"
        trains = {"policy"}
        reads = {"prm"}

    registry.objectives.items["reads-prm"] = Reads
    registry.objectives.owners["reads-prm"] = registry.objectives.owners["process"]
    roles, _ = roles_in(registry, tmp_path, train="reads-prm", start="sft", roles={"prm": "prm"})
    assert (roles["prm"].start, roles["prm"].of, roles["prm"].kind) == ("prm", None, "value")


def test_a_head_may_be_fresh_where_it_follows_one_that_is_trained(registry, tmp_path):
    binding = {"follow": "value", "rate": 0.1}
    roles, _ = roles_in(registry, tmp_path, train="critic", start="sft", roles={"slow": binding})
    assert (roles["slow"].start, roles["slow"].follow) == ("sft", "value")
    roles, _ = roles_in(registry, tmp_path, train="critic", roles={"slow": binding})
    assert (roles["slow"].start, roles["slow"].follow) == (None, "value")


def test_a_head_that_is_only_read_comes_from_a_stage_of_its_kind(registry, tmp_path):
    roles, _ = roles_in(registry, tmp_path, train="weighs", start="sft", roles={"value": "prm"})
    assert roles["value"].start == "prm"
    roles, _ = roles_in(registry, tmp_path, train="scored", start="sft", roles={"reward": "rm"})
    assert roles["reward"].start == "rm"


def test_a_role_that_shares_reads_under_the_prompt_of_its_owner(registry, tmp_path):
    roles, _ = roles_in(
        registry, tmp_path, train="doubtful", roles={"teacher": {"start": "sft", "prompt": "hinted"}}
    )
    assert (roles["twin"].shares, roles["twin"].prompt) == ("teacher", "hinted")


WRONG = {
    "a property with an undeclared role": (
        {"train": "mistaken"},
        "train.mistaken(.|\n)*the role 'teacher' is not declared",
    ),
    "a value that nothing trained": (
        {"train": "weighs", "start": "sft"},
        r"trains policy \(language-model\); a value is needed",
    ),
    "a value of the base": (
        {"train": "weighs"},
        "reads 'value', a value model, and the base has none",
    ),
    "a value that is a reward model": (
        {"train": "weighs", "start": "sft", "roles": {"value": "rm"}},
        r"trains reward \(reward\); a value is needed",
    ),
    "a built-in reward that is a policy": (
        {"train": "scored", "start": "sft", "roles": {"reward": "sft"}},
        r"trains policy \(language-model\); a reward is needed",
    ),
    "a built-in reward of the base": (
        {"train": "scored", "start": "sft", "roles": {"reward": "base"}},
        "roles.reward(.|\n)*reads 'reward', a reward model, and the base has none",
    ),
    "an unknown role": ({"train": "dpo", "roles": {"referense": "sft"}}, "roles.referense.*\n.*'reference'"),
    "a role that no stage binds": (
        {"train": "distil"},
        "reads the role 'teacher', and the stage does not say",
    ),
    "a start that is no stage": ({"train": "dpo", "roles": {"reference": "nothing"}}, "no stage and no data"),
    "a start of another kind": (
        {"train": "distil", "roles": {"teacher": "rm"}},
        r"trains reward \(reward\); a language-model is needed",
    ),
    "a reward that is a policy": (
        {"train": "twin", "reward": "length", "roles": {"safety": "sft"}},
        r"trains policy \(language-model\); a reward is needed",
    ),
    "a trained role that follows": (
        {"train": "dpo", "roles": {"policy": {"follow": "reference"}}},
        "it is trained, so it cannot follow",
    ),
    "following what is not trained": (
        {"train": "distil", "roles": {"teacher": {"follow": "reference"}}},
        "'reference' is not trained in this stage",
    ),
    "following from elsewhere": (
        {"train": "dpo", "start": "sft", "roles": {"reference": {"start": "other", "follow": "policy"}}},
        "found other, expected sft",
    ),
    "a role that has to follow, unbound": ({"train": "moving"}, "needs 'reference' to follow 'policy'"),
    "a role that has to follow, bound to a stage": (
        {"train": "moving", "roles": {"reference": "sft"}},
        "needs 'reference' to follow 'policy'.*\n.*follow: policy, rate: 1, every: 100",
    ),
    "a rate without a role to follow": (
        {"train": "dpo", "roles": {"reference": {"rate": 0.1}}},
        "give `follow` too",
    ),
    "binding a role that shares": (
        {"train": "generative", "roles": {"writer": "sft"}},
        "shares the adapter of 'reward'",
    ),
}


@pytest.mark.parametrize(("stage", "told"), WRONG.values(), ids=WRONG)
def test_a_binding_that_cannot_be_is_refused_with_the_reason(stage, told, registry, tmp_path):
    with pytest.raises(UserError, match=told):
        roles_in(registry, tmp_path, **stage)
