"""TRL's side of a comparison of methods that sample: RLOO of the installed TRL, PPO of an earlier one, as one
JSON line.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from peer import Clock, as_float32, quantization, settings
from peft import LoraConfig
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from workload import ALPHA, KL_COEF, NEW_TOKENS, ONLINE, RANK, SIZES, command_line, read_prompts, report

# As much as 24 GB hold without gradient checkpointing; PPO keeps the logits of every token, and two models'
# activations.
MICRO_BATCH = {"rloo": 16, "ppo": 8}


def main() -> None:
    """Run one workload."""
    parser = command_line(__doc__, ONLINE)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], required=True)
    parser.add_argument(
        "--micro-batch",
        type=int,
        help="samples of a forward and backward pass; an update is of 32 all the same",
    )
    parser.add_argument(
        "--trl",
        type=Path,
        help="a folder with an unpacked TRL to take instead of the installed one (ppo: 1.12.0)",
    )
    args = parser.parse_args()
    args.micro_batch = args.micro_batch or MICRO_BATCH[args.work]
    if args.trl:
        sys.path.insert(0, str(args.trl))
    clock = Clock()
    trainer = (rloo if args.work == "rloo" else ppo)(args, clock)
    trainer.train()
    import trl

    logged = trainer.state.log_history
    lengths = [entry["completions/mean_length"] for entry in logged if "completions/mean_length" in entry]
    print(
        report(
            args.work,
            f"trl {trl.__version__}",
            args.dtype,
            clock.seconds,
            new_tokens=lengths[-1] if lengths else NEW_TOKENS,
        )
    )


def rloo(args: argparse.Namespace, clock: Clock):
    """NF4 with LoRA on all linear layers, the reference with the adapter switched off; each batch sampled
    once and trained on once.
    """
    from trl import RLOOConfig, RLOOTrainer

    from alignkit_sentiment import Sentiment

    def sentiment(prompts: list, completions: list, **columns: list) -> list[float | None]:
        return Sentiment().score(prompts, completions)

    dtype, size = getattr(torch, args.dtype), SIZES["rloo"]
    passes = size.groups * size.per_group // args.micro_batch
    config = RLOOConfig(
        **settings(
            dtype,
            per_device_train_batch_size=args.micro_batch,
            gradient_accumulation_steps=passes,
            steps_per_generation=passes,
            num_iterations=1,
            num_generations=size.per_group,
            max_completion_length=NEW_TOKENS,
            beta=KL_COEF,
            temperature=1.0,
            shuffle_dataset=False,
            use_vllm=False,
            generation_kwargs={"min_new_tokens": NEW_TOKENS, "use_cache": True},
        )
    )
    trainer = RLOOTrainer(
        model=policy(args.model, dtype),
        reward_funcs=[sentiment],
        args=config,
        train_dataset=prompts(args),
        processing_class=left_padding(args.model),
        callbacks=[clock],
        peft_config=adapter(),
    )
    as_float32(trainer.model, args.dtype)
    return trainer


def ppo(args: argparse.Namespace, clock: Clock):
    """The policy in NF4 with LoRA, the reference with the adapter switched off, reward and value models whole
    and of their own.

    The models compute in the dtype that they are loaded in, without autocast, which this trainer does not put
    around sampling. The policy knows no end-of-sequence, so every sample has all its tokens.
    """
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    dtype, size = getattr(torch, args.dtype), SIZES["ppo"]
    tokenizer = left_padding(args.model)
    config = PPOConfig(
        **settings(
            dtype,
            per_device_train_batch_size=args.micro_batch,
            gradient_accumulation_steps=size.groups // args.micro_batch,
        )
        | {"bf16": False},
        total_episodes=size.groups * args.steps,
        num_ppo_epochs=4,
        num_mini_batches=1,
        local_rollout_forward_batch_size=size.groups,
        response_length=NEW_TOKENS,
        temperature=1.0,
        kl_coef=KL_COEF,
        num_sample_generations=0,
    )
    rows = tokenizer.apply_chat_template(
        [row["prompt"] for row in prompts(args)], add_generation_prompt=True, return_dict=True
    )
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy(args.model, dtype),
        ref_model=None,
        reward_model=judge(args.model, dtype),
        value_model=judge(args.model, dtype),
        train_dataset=Dataset.from_dict({"input_ids": rows["input_ids"]}),
        callbacks=[clock],
        peft_config=adapter(),
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    in_order = DataLoader(trainer.train_dataset, batch_size=size.groups, collate_fn=trainer.data_collator)
    # the same prompts in every step as the other side
    trainer.dataloader = trainer.accelerator.prepare(in_order)
    return trainer


def policy(model: str, dtype: torch.dtype):
    """The model in NF4."""
    return AutoModelForCausalLM.from_pretrained(model, dtype=dtype, quantization_config=quantization(dtype))


def judge(model: str, dtype: torch.dtype):
    """The model as one that gives a number, whole."""
    made = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=dtype)
    made.config.pad_token_id = left_padding(model).pad_token_id
    return made


def adapter() -> LoraConfig:
    """LoRA on all linear layers."""
    return LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=ALPHA, target_modules="all-linear")


def left_padding(model: str):
    """The tokenizer."""
    return AutoTokenizer.from_pretrained(model, padding_side="left")


def prompts(args: argparse.Namespace) -> Dataset:
    """The prompts of all steps."""
    return Dataset.from_list(read_prompts(args.data, SIZES[args.work].groups * args.steps))


if __name__ == "__main__":
    main()
