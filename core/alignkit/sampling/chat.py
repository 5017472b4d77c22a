"""A conversation with a trained policy."""

from __future__ import annotations

from pathlib import Path

import torch

from alignkit import recipe
from alignkit.data.tokenizing import Tokenization
from alignkit.errors import UserError
from alignkit.manifest import read_manifest
from alignkit.models.base import load_base
from alignkit.models.export import adapter_of
from alignkit.models.roles import HEADED, Roles
from alignkit.registry import Registry
from alignkit.sampling.sampler import Sampling
from alignkit.sampling.samplers import make_sampler


class Chat:
    """Remembers the turns; each answer is sampled from the stage's policy. Plain prompts where the tokenizer has no chat template."""

    def __init__(self, stage: Path, *, temperature: float, top_p: float, max_tokens: int, seed: int) -> None:
        adapter = adapter_of(stage)
        manifest = read_manifest(stage)
        assert manifest is not None
        trained = {name for term in manifest.inputs["terms"] for name in term.get("trains", ())}
        if trained and trained <= set(HEADED):
            raise UserError(f"{str(stage)!r} is a {', '.join(sorted(trained))} model; it scores completions and writes none")
        settings = {key: value for key, value in manifest.inputs["model"].items() if key != "content"}
        spec = recipe.Model.model_validate(settings)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        registry = Registry()
        self.roles = Roles(load_base(spec, registry, device), spec.lora, seed)
        self.roles.add("policy", trainable=False, start=adapter)
        self.sampler = make_sampler(registry, "engine", self.roles)
        self.settings = Sampling(1, temperature, top_p, max_tokens=max_tokens, seed=seed)
        tokenizer = self.roles.base.tokenizer
        self.tokenization = Tokenization(tokenizer, getattr(self.roles.base.model.config, "max_position_embeddings", 4096) - max_tokens)
        self.conversational = tokenizer.chat_template is not None
        self.turns: list[dict[str, str]] = []

    def answer(self, text: str) -> str:
        """The policy's answer to `text` after the turns so far."""
        self.turns.append({"role": "user", "content": text})
        ids = self.tokenization.prompt_ids(self.turns if self.conversational else text)
        [[drawn]] = self.sampler.sample("policy", [ids], self.settings)
        reply = self.roles.base.text(drawn.tokens)
        self.turns.append({"role": "assistant", "content": reply})
        return reply
