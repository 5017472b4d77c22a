"""Saved roles load in plain transformers + peft, and give the same numbers; a role starts from another's
adapter.
"""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from tiny_bases import load_tiny
from tiny_models import plain_logps, random_groups, shake, tiny_base, tiny_roles
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignkit import recipe
from alignkit.data.rows import tree_rows
from alignkit.errors import UserError
from alignkit.example import Group
from alignkit.models.adapters import HEAD_KEY, read_adapter
from alignkit.models.computing import role_signals
from alignkit.models.roles import Roles


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
    found = role_signals(roles, "policy", rows)["logps"][rows.batch.mask]

    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32),
        str(tmp_path / "adapter"),
    )
    torch.testing.assert_close(found, plain_logps(plain, groups), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "tokens", [{}, {"pad_token": None, "unk_token": "red"}, {"pad_token": "<eos>", "bos_token": "blue"}]
)
def test_plain_transformers_gives_the_reward_models_scores_whatever_the_tokenizers_pad_was(
    base, tokens, tmp_path, rng
):
    folder = shutil.copytree(base, tmp_path / "base")
    AutoTokenizer.from_pretrained(folder, **tokens).save_pretrained(folder)
    roles = Roles(load_tiny(folder), recipe.Lora(r=4), seed=0)
    roles.add("reward", trainable=True)
    shake(roles, "reward")
    roles.save("reward", tmp_path / "adapter")
    sized = lambda ids: [token % roles.base.model.config.vocab_size for token in ids]
    # each ends with 1, <eos>
    groups = [
        Group(sized(group.prompt), tuple(map(sized, group.completions))) for group in random_groups(rng)
    ]
    scores = role_signals(roles, "reward", tree_rows(groups))["scores"]

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
    expected = role_signals(before, "policy", rows)["logps"]
    roles = tiny_roles()
    for name, trainable in (("policy", True), ("reference", False)):
        roles.add(name, trainable=trainable, start=tmp_path / "adapter")
    shake(roles, "policy", seed=5)
    torch.testing.assert_close(
        role_signals(roles, "reference", rows)["reference_logps"], expected, atol=1e-6, rtol=0
    )
    assert not any(parameter.requires_grad for parameter in roles.parameters("reference").values())


@pytest.mark.parametrize(
    ("name", "task", "kept"), [("policy", "CAUSAL_LM", None), ("reward", "SEQ_CLS", ["score"])]
)
def test_the_saved_settings_name_the_base_and_what_the_adapter_makes_of_it(name, task, kept, tmp_path):
    saved_role(name, tmp_path)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    assert (config["task_type"], config["modules_to_save"]) == (task, kept)
    assert config["inference_mode"] is True


def test_a_state_that_does_not_fit_is_refused(tmp_path):
    saved_role("reward", tmp_path)
    state = read_adapter(tmp_path / "adapter")
    roles = tiny_roles()
    roles.add("reward", trainable=True)
    roles.load("reward", state)
    assert torch.equal(roles.state("reward")[HEAD_KEY], state[HEAD_KEY])
    headless = {key: value for key, value in state.items() if key != HEAD_KEY}
    with pytest.raises(UserError, match="the saved adapter has no head"):
        roles.load("reward", headless)
    roles.load("reward", headless, partial=True)
    first, *_ = headless
    with pytest.raises(UserError, match="the saved adapter does not fit the base") as error:
        roles.load("reward", {key: value for key, value in state.items() if key != first})
    assert "another `target`" in (error.value.hint or "")
