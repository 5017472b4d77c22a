"""Gives rewards the engine: text that roles generate, and the log-probabilities that they give to text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from alignkit.answers import short
from alignkit.data.tokenizing import Tokenization
from alignkit.errors import UserError, named, nearest
from alignkit.example import BadExample, Example, Group, Text
from alignkit.models.computing import compute_signals
from alignkit.models.roles import Roles
from alignkit.progress import ProgressOf, silent
from alignkit.rewards.kinds import RegisteredReward, Rewards
from alignkit.run.folder import RunFolder
from alignkit.sampler import Sampler, Sampling
from alignkit.sampling.checking import draw
from alignkit.signals import KINDS

POLICY = "policy"
"""The kind of a role that a stage plays: it writes completions."""
UNBOUNDED = 1 << 30
"""Stands for the positions of a base that has no bound."""


@dataclass(frozen=True)
class RoleEngine:
    """The engine of one reward, see `alignkit.Engine`.

    plays: for each role that the reward uses, its name among `roles`. where: the reward, for messages.
    budget: tokens that are computed at once. progress: shows how much is generated.
    """

    roles: Roles
    sampler: Sampler
    plays: Mapping[str, str]
    where: str
    seed: int
    budget: int
    progress: ProgressOf = silent

    def generate(
        self,
        role: str,
        prompts: Sequence[Text],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        per_prompt: int = 1,
        seed: int = 0,
    ) -> list[list[str]]:
        """Return the text of completion k of prompt i at [i][k]."""
        name = self._named(role)
        ids = [self._prompt_ids(prompt, max_tokens) for prompt in prompts]
        decided = _number(f"reward {self.seed} {seed}")  # other numbers than those of rollouts
        settings = Sampling(per_prompt, temperature, max_tokens=max_tokens, seed=decided)
        # A prompt's number is its text's own, so that a batch's samples do not depend on its other prompts.
        numbers = [_number(repr(tokens)) for tokens in ids]
        progress = self.progress("generating for a reward")
        drawn = draw(self.sampler, name, ids, settings, numbers=numbers, progress=progress) if ids else []
        return [
            [
                self.roles.base.text(sample.tokens, after=tokens if isinstance(prompt, str) else None)
                for sample in samples
            ]
            for prompt, tokens, samples in zip(prompts, ids, drawn, strict=True)
        ]

    def logps(self, role: str, prompts: Sequence[Text], completions: Sequence[Text]) -> list[list[float]]:
        """Return log π(y_t | x, y_<t) of each token of each completion, end-of-sequence included."""
        name = self._named(role)
        pairs = list(zip(prompts, completions, strict=True))
        # A prompt that stands several times in a row is computed once.
        groups = [
            self._group(prompt, tuple(completion for _, completion in of_prompt))
            for prompt, of_prompt in groupby(pairs, key=lambda pair: pair[0])
        ]
        if not groups:
            return []
        column = self.roles.roles[name].prompt
        if column is not None:  # the role reads the prompts that are given here, not those of the data
            groups = [replace(group, prompts={column: group.prompt}) for group in groups]
        (found,) = compute_signals(self.roles, groups, [name], self.budget).values()  # (N, T)
        tokens = [tokens for group in groups for tokens in group.completions]
        return [row[: len(ids)].tolist() for row, ids in zip(found, tokens, strict=True)]

    @property
    def _tokenization(self) -> Tokenization:
        return Tokenization(self.roles.base.tokenizer, self.roles.base.positions or UNBOUNDED)

    def _named(self, role: str) -> str:
        """Return the name of a role among `roles`. Raises UserError for a role that the reward has not."""
        if role not in self.plays:
            raise UserError(
                f"it asks the engine for the role {role!r}, which its `uses` does not name",
                where=self.where,
                hint=nearest(role, self.plays),
            )
        return self.plays[role]

    def _prompt_ids(self, prompt: Text, max_tokens: int) -> list[int]:
        """Return the ids of a prompt, all of them: a judge that reads half of its question misleads."""
        try:
            ids = self._tokenization.prompt_ids(prompt)
        except BadExample as reason:
            raise self._refusal(prompt, str(reason)) from reason
        if not ids:
            raise self._refusal(prompt, "it has no tokens")
        positions = self.roles.base.positions
        if positions is not None and len(ids) + max_tokens > positions:
            found = f"its {len(ids)} tokens and {max_tokens} of the completion"
            raise self._refusal(prompt, f"{found} do not fit: the base has positions for {positions}")
        return ids

    def _group(self, prompt: Text, completions: tuple[Text, ...]) -> Group:
        try:
            group = self._tokenization.encode(Example(prompt, completions))
        except BadExample as reason:
            raise self._refusal(prompt, str(reason)) from reason
        if group.truncated:
            most = self.roles.base.positions
            raise self._refusal(
                prompt, f"it does not fit with its completion: the base has positions for {most}"
            )
        return group

    def _refusal(self, prompt: Text, reason: str) -> UserError:
        return UserError(f"the prompt {short(prompt)} cannot be used: {reason}", where=self.where)


def make_engines(
    rewards: Rewards,
    roles: Roles,
    run: RunFolder | None,
    sampler: Sampler,
    *,
    seed: int,
    budget: int,
    progress: ProgressOf = silent,
) -> dict[str, RoleEngine]:
    """Return the engine of each of the rewards that use one, by the reward's name.

    A stage that plays a role is added to `roles` once, frozen. run: where the stages lie; None where no stage
    plays a role. sampler: draws completions of the roles. budget: tokens that are computed at once.
    progress: shows how much is generated.
    """
    found = {}
    for weighted in rewards:
        reward = weighted.reward
        if isinstance(reward, RegisteredReward) and reward.uses:
            where = named("reward", reward.name, reward.plugin)
            plays = {role: _player(role, reward, roles, run, where) for role in sorted(reward.uses)}
            found[reward.name] = RoleEngine(roles, sampler, plays, where, seed, budget, progress)
    return found


def _player(role: str, reward: RegisteredReward, roles: Roles, run: RunFolder | None, where: str) -> str:
    """Return the name, among `roles`, of what plays a role of the reward; a stage is loaded first."""
    stage = reward.roles.get(role)
    name = role if stage is None else f"stage-{stage}"
    if stage is not None and name not in roles.roles:
        start = run.start(stage) if run is not None else None
        roles.add(name, kind="language-model", trainable=False, start=start)
    if name not in roles.roles or KINDS[roles.roles[name].kind].headed:
        raise UserError(
            f"it uses the role {role!r}, which nothing here plays",
            where=where,
            hint=f"Say which stage plays it: `{reward.name}: {{roles: {{{role}: STAGE}}}}`.",
        )
    return name


def _number(text: str) -> int:
    """Return a number from 0 to 2⁶³ − 1 that the text alone decides."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
