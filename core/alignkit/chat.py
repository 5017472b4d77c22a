"""A conversation with a trained policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alignkit.errors import UserError
from alignkit.example import BadExample, Example, Group, Text
from alignkit.models.computing import forward_budget
from alignkit.models.export import model_settings
from alignkit.models.shared import SharedBase
from alignkit.registry import Registry
from alignkit.rewards.best_of_n import best_of
from alignkit.rewards.command import find_reward
from alignkit.rewards.engine import make_engines
from alignkit.rewards.models import RewardModels
from alignkit.rewards.scoring import Scorer
from alignkit.run.finished import finished_adapter
from alignkit.run.manifest import Inputs
from alignkit.sampler import Drawn, Sampling
from alignkit.sampling.checking import draw
from alignkit.sampling.decoding import decode
from alignkit.sampling.lookup import make_sampler
from alignkit.signals import KINDS

LONGEST = 4096
"""Tokens of a conversation, where the base sets no bound."""


@dataclass(frozen=True)
class Answer:
    """What the policy said.

    scores: the reward of every answer that was drawn, None where it abstained; empty without a reward.
    """

    text: str
    scores: tuple[float | None, ...] = ()


class Chat:
    """Remembers the turns, and samples each answer from the policy of a finished stage.

    Prompts are plain text where the tokenizer has no chat template. reward: of `settings.per_prompt` answers,
    the one with the highest reward is given; see `find_reward`.
    """

    def __init__(
        self,
        stage: Path,
        settings: Sampling,
        *,
        reward: str | None = None,
        plugins: Sequence[Path] | None = None,
    ) -> None:
        adapter, manifest = finished_adapter(stage)
        _require_policy(stage, manifest.inputs)
        registry = Registry(list(plugins or ()))
        found = None if reward is None else find_reward(reward, manifest.inputs.model, registry)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        base = SharedBase(model_settings(manifest.inputs.model), registry, device, note=lambda text: None)
        self.roles = base.roles(settings.seed)
        self.roles.add("policy", trainable=False, start=adapter)
        self.sampler = make_sampler(registry, "engine", self.roles)
        self.scorer = None
        if found is not None:
            weighted, run = found
            models = None if run is None else RewardModels(self.roles, run, forward_budget())
            engines = make_engines(
                (weighted,), self.roles, run, self.sampler, seed=settings.seed, budget=forward_budget()
            )
            self.scorer = Scorer((weighted,), models=models, engines=engines)
        self.settings = settings
        self.room = (base.positions or LONGEST) - settings.max_tokens
        if self.room <= 0:
            raise UserError(
                f"answers of {settings.max_tokens} tokens leave no room for a prompt",
                where="--max-tokens",
                hint="Lower it.",
            )
        self.tokenization = base.tokenization(self.room)
        self.conversational = base.tokenizer.chat_template is not None
        self.turns: list[dict[str, Any]] = []

    def answer(self, text: str) -> Answer:
        """Return the policy's answer to `text`, after the turns so far."""
        self.turns.append({"role": "user", "content": text})
        prompt = list(self.turns) if self.conversational else text
        ids = self._ids(prompt, text)
        [drawn] = draw(self.sampler, "policy", [ids], self.settings)
        scores = () if self.scorer is None else self._scores(self.scorer, prompt, ids, drawn)
        [chosen] = best_of(drawn, scores, len(drawn)) if scores else drawn[:1]
        reply = self.roles.base.text(chosen.tokens)
        self.turns.append({"role": "assistant", "content": reply})
        return Answer(reply, scores)

    def _ids(self, prompt: Text, text: str) -> list[int]:
        try:
            ids = self.tokenization.prompt_ids(prompt, room=self.room)
        except BadExample as reason:
            raise UserError(
                f"the prompt {text!r} cannot be written for this model: {reason}", where="--prompt"
            ) from reason
        if not ids:
            raise UserError("the prompt is empty", where="--prompt")
        return ids

    def _scores(
        self, scorer: Scorer, prompt: Text, ids: list[int], drawn: list[Drawn]
    ) -> tuple[float | None, ...]:
        """Return the reward of each answer, which it reads as it reads completions in a run."""
        examples, groups = decode(self.roles.base, [Example(prompt)], [Group(ids)], [drawn])
        [scores] = scorer(examples, groups).total
        return tuple(scores)


def _require_policy(stage: Path, inputs: Inputs) -> None:
    if inputs.trains and all(KINDS[kind].headed for kind in inputs.trains.values()):
        raise UserError(
            f"{str(stage)!r} is a {', '.join(sorted(inputs.trains))} model; "
            "it scores completions and writes none"
        )
