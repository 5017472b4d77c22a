"""Online objectives on a tiny model that refuse prompts, or draw from several places; and what they drew."""

import json

import torch
from tiny_models import shake, tiny_roles
from tiny_training import TinyTerms

from alignkit import Batch, Group, Loss, OnlineObjective, Preferences, Prompts, Rollouts
from alignkit.data.order import epoch_order
from alignkit.recipe import Training

PROMPTS = [Group([3 + i, 4, 5 + 2 * i][: 1 + i % 3]) for i in range(7)]


class Dynamic(OnlineObjective):
    """Refuses prompts whose samples all have the same reward."""

    name = "dynamic"
    data = Prompts
    max_rounds = 6

    def accept(self, rollouts: Rollouts) -> torch.Tensor:
        return rollouts.of_groups(rollouts.group_std(rollouts.rewards)) > 0

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.with_(advantages=rollouts.rewards - rollouts.group_mean(rollouts.rewards))

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.advantages * (batch.logps * batch.mask).sum(-1))


def parity(tokens):
    return float(sum(tokens) % 2)


def trainer(folder, objective=None, reward=parity, prompts=PROMPTS, batch_size=3, texts=None, **settings):
    objective = objective or Dynamic(samples_per_prompt=2)
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("reference", trainable=False)
    shake(roles, "policy")
    options = {"batch_size": batch_size, "learning_rate": 1e-2, "save_every": 1, "steps": 4, **settings}
    terms = TinyTerms(roles, Training(**options), folder)
    term = terms.online(objective, prompts, reward, max_tokens=3)
    if texts is not None:
        term.source.drawer.prompts.examples[:] = texts
    return terms.trainer(term)


def records(folder, name="dynamic"):
    files = sorted((folder / "rollouts" / name).glob("*.jsonl"))
    return [[json.loads(line) for line in file.read_text().strip().split("\n")] for file in files]


def places(batch):
    return [epoch_order(0, r["position"] // 7, 7)[r["position"] % 7] for r in batch]


def varied(record):
    return len({parity(tokens) for tokens in record["tokens"]}) > 1


class Versus(OnlineObjective):
    """Learns from samples of the policy and of the reference, in one group."""

    name = "versus"
    data = Prompts
    reads = {"reference"}
    samples_from = {"policy": 2, "reference": 1}

    def prepare(self, rollouts: Rollouts) -> Rollouts:
        own = rollouts.sampled_from("policy")
        assert own.tolist() == [True, True, False] * (len(rollouts) // 3)
        return rollouts.with_(sign=own.double() - 0.5)

    def loss(self, batch: Batch) -> Loss:
        assert batch.sources == ("policy", "reference")
        return Loss(-batch.sign * (batch.logps * batch.mask).sum(-1))


class Guided(OnlineObjective):
    """Learns from two of its own samples and one completion of the data."""

    name = "guided"
    data = Preferences
    samples_from = {"policy": 2, "data": 1}

    def loss(self, batch: Batch) -> Loss:
        return Loss(-batch.rewards * (batch.logps * batch.mask).sum(-1))
