"""Tiny random models of several architectures, built here: no network, no file."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random

import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, Qwen2Config, Qwen3Config

from alignkit import recipe
from alignkit.example import Group
from alignkit.models.agreement import why_flat
from alignkit.models.attention import NAME
from alignkit.models.base import Base
from alignkit.models.roles import Roles

torch.set_num_threads(1)  # tiny tensors gain nothing from more

VOCABULARY = 97
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "initializer_range": 0.3,
}
ARCHITECTURES = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config, "gemma": GemmaConfig}


class Silent:
    """A display that keeps its notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def advance(self, task, done, total, values, *, left=None):
        pass

    def recall(self, task, records):
        pass

    def brief(self, when, prompt, answer):
        pass

    def table(self, targets):
        pass


class Numbers:
    """A tokenizer that writes token ids as numbers."""

    eos_token_id = 1
    chat_template = None

    def decode(self, ids, **options):
        return "".join(f" {number}" for number in ids)


def tiny_model(architecture: str = "llama", **changes):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        ARCHITECTURES[architecture](**{**SIZES, **changes}), dtype=torch.float32
    )


def tiny_base(
    architecture: str = "llama", *, trees: bool = True, checkpointing: bool = False, **changes
) -> Base:
    model = tiny_model(architecture, **changes).requires_grad_(False)
    assert why_flat(model) is None
    model.set_attn_implementation(NAME)
    flat_because = None if trees else "the test says so"
    device = torch.device("cpu")
    return Base(model, Numbers(), torch.float32, device, flat_because, checkpointing)  # type: ignore[arg-type]


def tiny_roles(architecture: str = "llama", *, trees: bool = True, r: int = 4, **changes) -> Roles:
    return Roles(tiny_base(architecture, trees=trees, **changes), recipe.Lora(r=r, alpha=8), seed=0)


def shake(roles: Roles, name: str, seed: int = 1) -> None:
    """Move a role's adapter off its initial zero, so that it has an effect."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in roles.parameters(name).values():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def random_groups(rng: random.Random, count: int = 3, most: int = 6) -> list[Group]:
    """Groups of 1 to `most` ranked completions of any length."""

    def tokens(longest: int) -> list[int]:
        return [rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, longest))]

    groups = []
    for _ in range(count):
        size = rng.randint(1, most)
        groups.append(
            Group(
                tokens(12),
                tuple([*tokens(8), 1] for _ in range(size)),
                {"rank": tuple(float(k) for k in range(size))},
            )
        )
    return groups


def plain_logps(model, groups: list[Group]) -> torch.Tensor:
    """log π of each completion token by one plain forward pass for each prompt with its completion, (M,)."""
    found = []
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([group.prompt + completion])
            logits = model(ids).logits[0, len(group.prompt) - 1 : -1].float()
            found.append(logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None]).squeeze(1))
    return torch.cat(found)
