"""The base of a run is loaded once, and only where weights are needed."""

import pytest
import torch
from tiny_bases import GPT, save_base

from alignkit import recipe
from alignkit.errors import UserError
from alignkit.models import shared
from alignkit.models.fingerprint import base_fingerprint
from alignkit.models.shared import SharedBase
from alignkit.registry import Registry


def share(folder, notes, **options):
    settings = recipe.Model.model_validate(
        {"base": str(folder), "quantization": "none", "dtype": "float32", **options}
    )
    return SharedBase(settings, Registry(), torch.device("cpu"), notes.append)


def test_the_weights_are_loaded_once_and_why_they_are_laid_flat_is_told_once(tmp_path):
    notes = []
    base = share(save_base(tmp_path, "gptj", **GPT, rotary_dim=4), notes)
    assert base.base is base.base
    assert notes == ["rows are laid flat, not as prefix trees: its attention is code of its own"]
    assert base.tokenizer is base.base.tokenizer


def test_lengths_tokens_and_the_fingerprint_load_no_weights(base, monkeypatch):
    monkeypatch.setattr(shared, "load_base", lambda *arguments: pytest.fail("loads the weights"))
    whole = share(base, [])
    assert whole.fingerprint == base_fingerprint(whole.settings, Registry())
    assert whole.positions is not None
    assert whole.tokenization(16, room=6).max_length == 10
    assert whole.tokenizer is whole.tokenizer


def test_no_more_tokens_than_the_base_has_positions_for(base, monkeypatch):
    notes = []
    whole = share(base, notes)
    monkeypatch.setattr(shared, "most_positions", lambda spec, registry: 4)
    assert whole.tokenization(1024, room=3).max_length == 1
    assert notes == ["max_length 1024 is more than the base has positions for; it is 4 here"]
    with pytest.raises(UserError, match="completions of 4 tokens leave no room for a prompt") as error:
        whole.tokenization(1024, room=4)
    assert error.value.where == "max_tokens"


def test_roles_take_the_recipes_lora_with_or_without_its_dropout(base):
    whole = share(base, [], lora={"r": 4, "dropout": 0.1})
    for dropout, expected in ((True, 0.1), (False, 0.0)):
        with whole.roles(0, dropout=dropout) as roles:
            roles.add("policy", trainable=True)
            assert roles.model.peft_config["policy"].lora_dropout == expected
            assert roles.model.peft_config["policy"].r == 4
    assert whole.base is roles.base
