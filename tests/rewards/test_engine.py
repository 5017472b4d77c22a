"""The engine that rewards use: text that a role generates, and log-probabilities that it gives to text."""

import pytest
import torch
from tiny_bases import load_tiny, save_base
from tiny_models import plain_logps, shake
from tiny_runs import WORDS

from alignkit import Reward, UserError, recipe
from alignkit.example import Group
from alignkit.models.roles import Roles
from alignkit.rewards.engine import make_engines
from alignkit.rewards.kinds import RegisteredReward, WeightedReward
from alignkit.run.folder import RunFolder
from alignkit.sampling.engine_sampler import EngineSampler


class Judged(Reward):
    """Uses two roles."""

    name = "judged"
    uses = {"policy", "judge"}


def ids_of(text):
    return [WORDS.index(word) + 2 for word in text.split()]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load_tiny(save_base(tmp_path_factory.mktemp("base"), "llama"))


@pytest.fixture
def roles(loaded):
    with Roles(loaded, recipe.Lora(r=4, alpha=8, dropout=0.5), seed=0) as roles:
        roles.add("policy", trainable=True)
        shake(roles, "policy")
        yield roles


def engine_of(roles, *, seed=0, run=None, **players):
    reward = RegisteredReward("judged", Judged(), "", {"judge": "base", **players})
    rewards = (WeightedReward(reward),)
    sampler = EngineSampler(roles, "quantized")
    return make_engines(rewards, roles, run, sampler, seed=seed, budget=256)["judged"]


PROMPTS = ["red cat", "blue dog runs"]


def test_logps_are_those_of_a_plain_forward_pass_with_end_of_sequence(roles):
    completions = [" sleeps", " never now", " today"]
    prompts = [PROMPTS[0], PROMPTS[0], PROMPTS[1]]
    found = engine_of(roles).logps("judge", prompts, completions)
    groups = [
        Group(ids_of(prompt), ([*ids_of(completion), 1],))
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    with roles.active("stage-base") as model, torch.no_grad():
        expected = plain_logps(model, groups)
    assert [len(row) for row in found] == [2, 3, 2]
    assert [value for row in found for value in row] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("hinted", ["policy", "teacher"])
def test_logps_are_those_after_the_prompts_that_are_given_whatever_columns_roles_read(roles, hinted):
    expected = engine_of(roles).logps("policy", PROMPTS, [" sleeps", " now"])
    if hinted == "teacher":
        roles.add("teacher", kind="language-model", trainable=False, prompt="hint")
    else:
        roles.roles["policy"].prompt = "hint"
    assert engine_of(roles).logps("policy", PROMPTS, [" sleeps", " now"]) == expected


def test_each_role_has_its_own_weights_without_dropout_and_gradient(roles):
    engine = engine_of(roles)
    arguments = (PROMPTS, [" sleeps", " now"])
    policy, judge = (engine.logps(role, *arguments) for role in ("policy", "judge"))
    assert policy != judge
    assert engine.logps("policy", *arguments) == policy, "no dropout"
    assert all(parameter.grad is None for parameter in roles.trainable().values())
    assert engine.logps("policy", [], []) == []


def test_greedy_text_is_the_most_likely_continuation(roles):
    found = engine_of(roles).generate("judge", ["red cat"], max_tokens=3)
    ids = ids_of("red cat")
    with roles.active("stage-base") as model, torch.no_grad():
        for _ in range(3):
            if ids[-1] != 1:
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = roles.base.text(ids[2:], after=ids[:2])
    assert found == [[expected]]
    assert engine_of(roles).generate("judge", []) == []


def test_samples_depend_on_the_seed_and_the_prompt_not_on_the_other_prompts(roles):
    torch.manual_seed(5)
    options = {"temperature": 1.0, "per_prompt": 3, "max_tokens": 6}
    both = engine_of(roles).generate("policy", PROMPTS, **options)
    state = torch.get_rng_state()
    assert [len(texts) for texts in both] == [3, 3]
    assert engine_of(roles).generate("policy", PROMPTS[::-1], **options) == both[::-1]
    assert engine_of(roles).generate("policy", PROMPTS[1:], **options) == both[1:]
    assert engine_of(roles).generate("policy", PROMPTS, **options, seed=1) != both
    assert engine_of(roles, seed=1).generate("policy", PROMPTS, **options) != both
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the global generator"


def test_a_stage_is_loaded_once_as_a_frozen_role(roles, tmp_path):
    roles.save("policy", tmp_path / "sft" / "adapter")
    run = RunFolder(tmp_path)
    engine = engine_of(roles, run=run, judge="sft")
    engine_of(roles, run=run, policy="sft", judge="sft")
    assert list(roles.roles) == ["policy", "stage-sft"]
    assert not roles.roles["stage-sft"].trainable
    assert all(name.startswith("policy/") for name in roles.trainable())
    arguments = (PROMPTS, [" sleeps", " now"])
    assert engine.logps("judge", *arguments) == engine.logps("policy", *arguments)
    before = engine.logps("judge", *arguments)
    shake(roles, "policy", seed=2)
    assert engine.logps("judge", *arguments) == before != engine.logps("policy", *arguments)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda engine: engine.generate("judgee", ["red"]), "(?s)role 'judgee'.*Did you mean 'judge'"),
        (lambda engine: engine.generate("judge", [""]), "the prompt '' cannot be used: it has no tokens"),
        (
            lambda engine: engine.generate("judge", ["red " * 60], max_tokens=5),
            "60 tokens and 5 of the completion do not fit: the base has positions for 64",
        ),
        (
            lambda engine: engine.logps("judge", ["red " * 60], [" cat" * 6]),
            "does not fit with its completion",
        ),
        (
            lambda engine: engine.logps("judge", ["red"], [[{"role": "assistant", "content": "cat"}]]),
            "the prompt 'red' cannot be used: the prompt and its completions are not all text",
        ),
    ],
)
def test_what_the_engine_cannot_do_is_refused(roles, ask, words):
    with pytest.raises(UserError, match=words) as caught:
        ask(engine_of(roles))
    assert caught.value.where == "reward 'judged'"


def test_a_role_that_nothing_plays_is_refused(roles):
    reward = RegisteredReward("judged", Judged())
    with pytest.raises(UserError, match=r"(?s)role 'judge', which nothing here plays.*judged: \{roles"):
        make_engines((WeightedReward(reward),), roles, None, EngineSampler(roles), seed=0, budget=256)


def test_a_reward_without_roles_has_no_engine(roles):
    plain = WeightedReward(RegisteredReward("plain", lambda **more: []))
    assert make_engines((plain,), roles, None, EngineSampler(roles), seed=0, budget=256) == {}
    assert list(roles.roles) == ["policy"]
