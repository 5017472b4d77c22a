"""TRL's side of a comparison on fixed data: the same by its trainers in their fastest ordinary setting,
reported as one JSON line.
"""

from __future__ import annotations

import argparse
import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    TrainerCallback,
)
from workload import (
    ALPHA,
    BETA,
    LEARNING_RATE,
    MAX_LENGTH,
    RANK,
    SIZES,
    command_line,
    read_examples,
    report,
    seconds_now,
)


class Clock(TrainerCallback):
    """Seconds of every step. A trainer that announces no beginnings is timed from one end to the next."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, *args, **kwargs) -> None:
        """Start."""
        self.began = seconds_now()

    def on_step_begin(self, *args, **kwargs) -> None:
        """Start."""
        self.began = seconds_now()

    def on_step_end(self, *args, **kwargs) -> None:
        """Stop."""
        now = seconds_now()
        self.seconds.append(now - self.began)
        self.began = now


def main() -> None:
    """Run one workload."""
    parser = command_line(__doc__, ["dpo", "dpo-cached", "reward", "sft"])
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], required=True)
    args = parser.parse_args()
    clock = Clock()
    trainer = make_trainer(args, clock)
    as_float32(trainer.model, args.dtype)
    trainer._get_train_sampler = lambda *unused: SequentialSampler(
        trainer.train_dataset
    )  # the same examples in every step as the other side
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(report(args.work, "trl", args.dtype, clock.seconds, first_loss=losses[0]))


def as_float32(model: torch.nn.Module, dtype: str) -> None:
    """Where float32 is computed, let adapters be so too: TRL's cast to bfloat16, which such processors only
    emulate, is slow.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and dtype == "float32":
            parameter.data = parameter.data.float()


def quantization(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantization, heads left as they are."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["score", "lm_head"],
    )


def settings(dtype: torch.dtype, **more) -> dict:
    """What all its trainers get: no gradient checkpointing, autocast where the dtype is bfloat16, nothing
    saved or sent.
    """
    return {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "bf16": dtype == torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "learning_rate": LEARNING_RATE,
        **more,
    }


def make_trainer(args: argparse.Namespace, clock: Clock):
    """NF4, LoRA on all linear layers."""
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    dtype = getattr(torch, args.dtype)
    load = {"dtype": dtype, "quantization_config": quantization(dtype)}
    size = SIZES[args.work].groups
    common = settings(dtype, per_device_train_batch_size=size, max_length=MAX_LENGTH)
    lora = {"r": RANK, "lora_alpha": ALPHA, "target_modules": "all-linear"}
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    data = Dataset.from_list(read_examples(args.data, size * args.steps, tokenizer))
    shared = {"train_dataset": data, "processing_class": tokenizer, "callbacks": [clock]}
    if args.work == "reward":
        model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=1, **load)
        model.config.pad_token_id = tokenizer.pad_token_id
        adapter = LoraConfig(task_type="SEQ_CLS", modules_to_save=["score"], **lora)
        return RewardTrainer(model=model, args=RewardConfig(**common), peft_config=adapter, **shared)
    model = AutoModelForCausalLM.from_pretrained(args.model, **load)
    adapter = LoraConfig(task_type="CAUSAL_LM", **lora)
    if args.work == "sft":
        return SFTTrainer(model=model, args=SFTConfig(**common), peft_config=adapter, **shared)
    config = DPOConfig(beta=BETA, precompute_ref_log_probs=args.work == "dpo-cached", **common)
    return DPOTrainer(model=model, args=config, peft_config=adapter, **shared)


if __name__ == "__main__":
    main()
