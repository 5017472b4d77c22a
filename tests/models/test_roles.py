"""Saved roles load in plain transformers + peft, and give the same numbers; a stage starts from another's
adapter.
"""

import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from tiny_models import random_groups, shake, tiny_base, tiny_roles
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignkit import recipe
from alignkit.data.rows import tree_rows
from alignkit.example import Group
from alignkit.models.base import load_base
from alignkit.models.roles import Roles
from alignkit.registry import Registry


class NoTokenizer:
    def save_pretrained(self, folder):
        pass


def saved_role(name, tmp_path):
    """A base and a trained role, saved."""
    base = tiny_base()
    base.model.save_pretrained(tmp_path / "base")
    base.model.name_or_path = str(tmp_path / "base")
    object.__setattr__(base, "tokenizer", NoTokenizer())
    roles = Roles(base, recipe.Lora(r=4), seed=0)
    roles.add(name, trainable=True)
    shake(roles, name)
    roles.save(name, tmp_path / "adapter")
    return roles


def test_plain_peft_gives_the_policys_log_probabilities(tmp_path, rng):
    roles = saved_role("policy", tmp_path)
    groups = random_groups(rng)
    rows = tree_rows(groups)
    found = roles.signals("policy", rows)["logps"][rows.batch.mask]

    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32),
        str(tmp_path / "adapter"),
    )
    expected = []
    for group in groups:
        for completion in group.completions:
            logits = plain(torch.tensor([group.prompt + completion])).logits[0, len(group.prompt) - 1 : -1]
            expected.append(logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None]).squeeze(1))
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "tokens", [{}, {"pad_token": None, "unk_token": "red"}, {"pad_token": "<eos>", "bos_token": "blue"}]
)
def test_plain_transformers_gives_the_reward_models_scores_whatever_the_tokenizers_pad_was(
    base, tokens, tmp_path, rng
):
    folder = shutil.copytree(base, tmp_path / "base")
    AutoTokenizer.from_pretrained(folder, **tokens).save_pretrained(folder)
    spec = recipe.Model(base=str(folder), quantization="none", dtype="float32")
    roles = Roles(load_base(spec, Registry(), torch.device("cpu")), recipe.Lora(r=4), seed=0)
    roles.add("reward", trainable=True)
    shake(roles, "reward")
    roles.save("reward", tmp_path / "adapter")
    sized = lambda ids: [token % roles.base.model.config.vocab_size for token in ids]
    # each ends with 1, <eos>
    groups = [
        Group(sized(group.prompt), tuple(map(sized, group.completions))) for group in random_groups(rng)
    ]
    scores = roles.signals("reward", tree_rows(groups))["scores"]

    plain = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    plain.config.pad_token_id = pad = AutoTokenizer.from_pretrained(tmp_path / "adapter").pad_token_id
    plain = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    sequences = [group.prompt + completion for group in groups for completion in group.completions]
    batch = nn.utils.rnn.pad_sequence(
        [torch.tensor(ids) for ids in sequences], batch_first=True, padding_value=pad
    )
    torch.testing.assert_close(scores, plain(batch).logits[:, 0], atol=1e-4, rtol=0)


def test_a_reward_role_starts_from_the_sft_adapter_with_a_fresh_head(tmp_path):
    policy = saved_role("policy", tmp_path)
    reward = tiny_roles()
    reward.add("reward", trainable=True, start=tmp_path / "adapter")
    assert not reward.parameters("reward")["base_model.model.score.weight"].any(), (
        "a fresh reward model is indifferent"
    )
    for key, parameter in policy.parameters("policy").items():
        assert torch.equal(reward.parameters("reward")[key], parameter)


def test_the_reference_of_a_policy_that_started_from_a_stage_is_that_stage(tmp_path, rng):
    before = saved_role("policy", tmp_path)
    rows = tree_rows(random_groups(rng))
    expected = before.signals("policy", rows)["logps"]
    roles = tiny_roles()
    for name, trainable in (("policy", True), ("reference", False)):
        roles.add(name, trainable=trainable, start=tmp_path / "adapter")
    shake(roles, "policy", seed=5)
    torch.testing.assert_close(
        roles.signals("reference", rows)["reference_logps"], expected, atol=1e-6, rtol=0
    )
    assert not any(parameter.requires_grad for parameter in roles.parameters("reference").values())


def test_fresh_roles_are_a_function_of_the_seed():
    first, second = tiny_roles(), tiny_roles()
    for roles in (first, second):
        torch.rand(3)
        roles.add("reward", trainable=True)
    assert all(torch.equal(p, second.parameters("reward")[k]) for k, p in first.parameters("reward").items())


def test_dropout_is_off_where_asked_and_always_in_a_frozen_role(tmp_path, rng):
    roles = Roles(tiny_base(), recipe.Lora(r=4, alpha=8, dropout=0.5), seed=0)
    roles.add("policy", trainable=True)
    shake(roles, "policy")
    save_file(roles.state("policy"), tmp_path / "adapter_model.safetensors")
    roles.model.peft_config["policy"].save_pretrained(tmp_path)
    roles.add("reference", trainable=False, start=tmp_path)
    rows = roles.rows(random_groups(rng))

    def twice(name):
        return [next(iter(roles.signals(name, rows).values())) for _ in range(2)]

    assert not torch.equal(*twice("policy"))
    assert torch.equal(*twice("reference"))
    with roles.without_dropout():
        assert torch.equal(*twice("policy"))
        assert torch.equal(twice("policy")[0], twice("reference")[0])
    assert not torch.equal(*twice("policy"))
