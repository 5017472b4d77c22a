"""TRL's side of a comparison: the same workload by its trainers in their fastest ordinary setting, reported as one JSON line."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from workload import ALPHA, BETA, LEARNING_RATE, MAX_LENGTH, RANK, batch_size, read_rows, report


class Clock(TrainerCallback):
    """Seconds of every optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *args, **kwargs) -> None:
        """Start."""
        self.began = time.perf_counter()

    def on_step_end(self, *args, **kwargs) -> None:
        """Stop."""
        self.seconds.append(time.perf_counter() - self.began)


def main() -> None:
    """Run one workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=["dpo", "dpo-cached", "reward", "sft"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], required=True)
    args = parser.parse_args()
    clock = Clock()
    trainer = make_trainer(args, clock)
    if args.dtype == "float32":
        # TRL casts adapters over a 4-bit base to bfloat16, which processors without it only emulate, slowly.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    trainer._get_train_sampler = lambda *unused: SequentialSampler(
        trainer.train_dataset
    )  # the same examples in every step as the other side
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(report(args.work, "trl", args.dtype, clock.seconds, first_loss=losses[0]))


def make_trainer(args: argparse.Namespace, clock: Clock):
    """NF4 with double quantization, LoRA on all linear layers, no gradient checkpointing; autocast where the dtype is bfloat16."""
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

    dtype = getattr(torch, args.dtype)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["score", "lm_head"],
    )  # fmt: skip
    load = {"dtype": dtype, "quantization_config": quantization}
    size = batch_size(args.work)
    common = {
        "output_dir": tempfile.mkdtemp(), "num_train_epochs": 1, "logging_steps": 1, "save_strategy": "no", "report_to": [],
        "bf16": dtype == torch.bfloat16, "use_cpu": not torch.cuda.is_available(), "gradient_checkpointing": False,
        "learning_rate": LEARNING_RATE, "per_device_train_batch_size": size, "max_length": MAX_LENGTH,
    }  # fmt: skip
    lora = {"r": RANK, "lora_alpha": ALPHA, "target_modules": "all-linear"}
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    data = Dataset.from_list(read_rows(args.work, args.data, size * args.steps))
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
