"""A conversation with a trained policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alignkit import recipe
from alignkit.data.tokenizing import Tokenization
from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group
from alignkit.models.base import load_base
from alignkit.models.export import adapter_of
from alignkit.models.roles import HEADED, Roles
from alignkit.registry import Registry
from alignkit.rewards.best_of_n import best_of
from alignkit.rewards.command import find_reward
from alignkit.rewards.scoring import Scorer
from alignkit.run.manifest import read_manifest
from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.lookup import make_sampler

BUDGET = 4096  # tokens a reward model scores at once
LONGEST = 4096  # tokens of a conversation, where the base sets no bound


@dataclass(frozen=True)
class Answer:
    """What the policy said. scores: the reward of every answer that was drawn, None where it abstained; empty
    without a reward.
    """

    text: str
    scores: tuple[float | None, ...] = ()


class Chat:
    """Remembers the turns; each answer is sampled from the stage's policy. Plain prompts where the tokenizer
    has no chat template.

    reward: with it, of `settings.per_prompt` answers the one with the highest reward is given; see
    `find_reward`.
    """

    def __init__(
        self,
        stage: Path,
        settings: Sampling,
        *,
        reward: str | None = None,
        plugins: Sequence[Path] | None = None,
    ) -> None:
        adapter = adapter_of(stage)
        manifest = read_manifest(stage)
        assert manifest is not None
        trained = {name for term in manifest.inputs["terms"] for name in term.get("trains", ())}
        if trained and trained <= set(HEADED):
            raise UserError(
                f"{str(stage)!r} is a {', '.join(sorted(trained))} model; it scores completions "
                "and writes none"
            )
        model = manifest.inputs["model"]
        spec = recipe.Model.model_validate({key: value for key, value in model.items() if key != "content"})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        registry = Registry(list(plugins or ()))
        found = None if reward is None else find_reward(reward, model, registry)
        self.roles = Roles(load_base(spec, registry, device), spec.lora, settings.seed)
        self.roles.add("policy", trainable=False, start=adapter)
        self.scorer = None if found is None else Scorer([found[0]], self.roles, found[1], BUDGET)
        self.sampler = make_sampler(registry, "engine", self.roles)
        self.settings = settings
        tokenizer = self.roles.base.tokenizer
        self.room = (self.roles.base.positions or LONGEST) - settings.max_tokens
        if self.room <= 0:
            raise UserError(
                f"answers of {settings.max_tokens} tokens leave no room for a prompt",
                where="--max-tokens",
                hint="Lower it.",
            )
        self.tokenization = Tokenization(tokenizer, self.room)
        self.conversational = tokenizer.chat_template is not None
        self.turns: list[dict[str, Any]] = []

    def answer(self, text: str) -> Answer:
        """The policy's answer to `text` after the turns so far."""
        self.turns.append({"role": "user", "content": text})
        prompt = list(self.turns) if self.conversational else text
        try:
            ids = self.tokenization.prompt_ids(prompt, room=self.room)
        except BadExample as reason:
            raise UserError(
                f"the prompt {text!r} cannot be written for this model: {reason}", where="--prompt"
            ) from reason
        if not ids:
            raise UserError("the prompt is empty", where="--prompt")
        [drawn] = self.sampler.sample("policy", [ids], self.settings)
        scores = () if self.scorer is None else self._scores(self.scorer, prompt, ids, drawn)
        [chosen] = best_of(drawn, scores, len(drawn)) if scores else drawn[:1]
        reply = self.roles.base.text(chosen.tokens)
        self.turns.append({"role": "assistant", "content": reply})
        return Answer(reply, scores)

    def _scores(
        self, scorer: Scorer, prompt: Any, ids: list[int], drawn: list[Drawn]
    ) -> tuple[float | None, ...]:
        """The reward of each answer, which it reads as it reads completions in a run."""
        said = [
            self.roles.base.text(sample.tokens, after=None if self.conversational else ids)
            for sample in drawn
        ]
        completions = tuple(
            [{"role": "assistant", "content": text}] if self.conversational else text for text in said
        )
        group = Group(ids, tuple(sample.tokens for sample in drawn))
        [scores] = scorer([Example(prompt, completions)], [group]).total
        return tuple(scores)
