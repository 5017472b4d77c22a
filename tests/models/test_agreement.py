"""Bases of many architectures: what is computed of them is what plain transformers computes, or they are
refused.
"""

import pytest
import torch
from tiny_bases import GPT, load_tiny, save_base, word_groups
from tiny_models import plain_logps, tiny_model
from transformers import AutoModelForCausalLM

from alignkit import recipe
from alignkit.data.rows import flat_rows, tree_rows
from alignkit.errors import UserError
from alignkit.models.agreement import TREE_ATTENTION, attend_by_trees, deviation
from alignkit.models.computing import role_signals
from alignkit.models.roles import Roles

EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 32}
TREES = {
    "phi": {},  # a bias on its logits
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25},
    "gpt2": GPT,  # dropout in its configuration
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "seed_oss": {"residual_dropout": 0.1, "attention_dropout": 0.1},
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
}
FLAT = {
    "gemma2": ({"final_logit_softcapping": 5.0}, "sliding_attention"),
    "gptj": ({**GPT, "rotary_dim": 4}, "its attention is code of its own"),
    "stablelm": ({}, "its code fails on them"),
    "nemotron": ({}, "its code fails on them"),
    "doge": ({}, "masks its attention itself"),
}


def logps(base, groups) -> torch.Tensor:
    roles = Roles(base, recipe.Lora(r=4), seed=0)
    roles.add("policy", trainable=True)  # a fresh adapter changes nothing
    rows = roles.rows(groups)
    return role_signals(roles, "policy", rows)["logps"][rows.batch.mask]


@pytest.mark.parametrize("architecture", [*TREES, *FLAT])
def test_log_probabilities_in_training_are_those_of_plain_transformers(architecture, tmp_path, rng):
    options, reason = (TREES[architecture], None) if architecture in TREES else FLAT[architecture]
    folder = save_base(tmp_path, architecture, **options)
    base = load_tiny(folder)
    assert base.trees == (reason is None)
    assert (reason or "") in (base.flat_because or "")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    groups = word_groups(rng)
    torch.testing.assert_close(logps(base, groups), plain_logps(plain, groups), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["phi", "gpt2"])
def test_half_precision_is_no_reason_to_refuse_a_base_or_to_lay_it_flat(architecture, dtype, tmp_path, rng):
    folder = save_base(tmp_path, architecture, **TREES[architecture])
    base = load_tiny(folder, dtype=dtype)
    assert base.trees
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    groups = word_groups(rng)
    torch.testing.assert_close(logps(base, groups), plain_logps(plain, groups), atol=0.2, rtol=0)


def test_a_base_whose_log_probabilities_are_not_reproduced_is_refused(tmp_path):
    """This configuration knows a scale of the logits that the model's code never applies."""
    folder = save_base(tmp_path, "mpt", d_model=32, n_heads=4, n_layers=2, max_seq_len=64, logit_scale=0.5)
    told = r"model\.base: the log-probabilities computed for this base \(mpt, float32\) differ"
    with pytest.raises(UserError, match=told) as error:
        load_tiny(folder)
    assert "choose another base" in str(error.value)


def test_the_models_own_attention_comes_back_where_trees_change_its_log_probabilities():
    model = tiny_model()
    own = model.config._attn_implementation
    assert "its log-probabilities differ on them by" in (attend_by_trees(model, torch.float32, -1.0) or "")
    assert model.config._attn_implementation == own
    assert attend_by_trees(model, torch.float32, 1e-4) is None
    assert model.config._attn_implementation == TREE_ATTENTION


def test_the_deviation_is_seen_where_trees_meet_an_attention_that_does_not_know_them():
    model = tiny_model()
    assert deviation(model, flat_rows, torch.float32) < 1e-5
    model.set_attn_implementation("eager")
    assert deviation(model, tree_rows, torch.float32) > 0.01
