"""Losses and adapter gradients of DPO and Bradley–Terry equal those of the installed TRL on the same batch
and weights.
"""

import random

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tiny_models import VOCABULARY, shake, tiny_roles
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from alignkit.data.rows import tree_rows
from alignkit.example import Group
from alignkit.models.computing import role_signals
from alignkit_bradley_terry import BradleyTerry
from alignkit_dpo import DirectPreferenceOptimization

LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}


@pytest.fixture
def tokenizer():
    words = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def pairs(seed: int = 0, count: int = 5) -> list[Group]:
    rng = random.Random(seed)
    ids = lambda longest: [rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, longest))]
    return [Group(ids(9), ([*ids(7), 1], [*ids(7), 1]), {"rank": (0.0, 1.0)}) for _ in range(count)]


def dataset() -> Dataset:
    return Dataset.from_list([{"prompt": "w5", "chosen": " w6", "rejected": " w7"}] * 2)


def settings(cls, tmp_path, **options):
    return cls(
        output_dir=str(tmp_path),
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        **options,
    )


def our_loss(objective, roles, groups):
    rows = tree_rows(groups)
    signals = {}
    for name in (*objective.trains, *objective.reads):
        signals |= role_signals(roles, name, rows)
    loss = objective.loss(rows.batch.with_(**signals))
    return (loss.terms * loss.weight).sum() / loss.weight.sum(), loss


def copy_into_peft(roles, name: str, model) -> dict[str, torch.nn.Parameter]:
    """Give TRL's adapter our weights; returns its parameters by our names."""
    theirs = {
        key.replace(".default.", "."): parameter
        for key, parameter in model.named_parameters()
        if ".default." in key
    }
    ours = roles.parameters(name)
    matched = {key: theirs[key] for key in ours if key in theirs}
    for key, parameter in matched.items():
        parameter.data.copy_(ours[key].data)
    return matched


@pytest.mark.parametrize("seed", [0, 1])
def test_dpo(tokenizer, tmp_path, seed):
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    groups = pairs(seed)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    objective = DirectPreferenceOptimization(beta=0.3)
    ours, _ = our_loss(objective, roles, groups)
    ours.backward()

    config = settings(DPOConfig, tmp_path, beta=0.3)
    model = tiny_roles().base.model
    model.set_attn_implementation("eager")
    trainer = DPOTrainer(
        model=model,
        args=config,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **LORA),
        train_dataset=dataset(),
        processing_class=tokenizer,
    )
    matched = copy_into_peft(roles, "policy", trainer.model)
    rows = [
        {"prompt_ids": g.prompt, "chosen_ids": g.completions[0], "rejected_ids": g.completions[1]}
        for g in groups
    ]
    theirs = trainer.compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(rows))
    theirs.backward()

    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert len(matched) == len(roles.parameters("policy"))
    for key, parameter in roles.parameters("policy").items():
        torch.testing.assert_close(parameter.grad, matched[key].grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("centering", [0.0, 0.5])
def test_bradley_terry(tokenizer, tmp_path, centering):
    from trl import RewardConfig, RewardTrainer
    from trl.trainer.reward_trainer import DataCollatorForPreference

    groups = pairs()
    roles = tiny_roles()
    roles.add("reward", trainable=True)
    shake(roles, "reward")
    ours, _ = our_loss(BradleyTerry(centering=centering), roles, groups)
    ours.backward()

    base = tiny_roles().base.model
    model = AutoModelForSequenceClassification.from_config(
        type(base.config)(**{**base.config.to_dict(), "num_labels": 1})
    )
    model.model.load_state_dict(base.model.state_dict())
    config = settings(RewardConfig, tmp_path, center_rewards_coefficient=centering or None)
    peft = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", modules_to_save=["score"], **LORA))
    trainer = RewardTrainer(model=peft, args=config, train_dataset=dataset(), processing_class=tokenizer)
    matched = copy_into_peft(roles, "reward", trainer.model)
    head = next(
        p
        for key, p in trainer.model.named_parameters()
        if key.endswith("score.modules_to_save.default.weight")
    )
    head.data.copy_(roles.roles["reward"].head.weight.data)
    rows = [
        {"chosen_ids": g.prompt + g.completions[0], "rejected_ids": g.prompt + g.completions[1]}
        for g in groups
    ]
    theirs = trainer.compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(rows))
    theirs.backward()

    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    torch.testing.assert_close(roles.roles["reward"].head.weight.grad, head.grad, atol=1e-4, rtol=1e-4)
    assert len(matched) == len(roles.parameters("reward")) - 1
    for key, parameter in matched.items():
        torch.testing.assert_close(roles.parameters("reward")[key].grad, parameter.grad, atol=1e-4, rtol=1e-4)
