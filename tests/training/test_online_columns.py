"""The data's columns in online objectives, and signals that are known at sampling and computed anew."""

from dataclasses import replace

import pytest
import torch
from drawn_runs import PROMPTS, Guided, parity, trainer
from tiny_models import tiny_roles
from tiny_training import TinyTerms

from alignkit import Example, Group, Loss, Objective, OnlineObjective, Preferences, Prompts, UserError
from alignkit.recipe import Training


class Levelled(OnlineObjective):
    """Learns as much from a sample as its prompt's level says."""

    name = "levelled"
    data = Prompts

    def loss(self, batch):
        return Loss(-batch.level * (1 + batch.rewards) * (batch.logps * batch.mask).sum(-1))


def levels(**more):
    return [
        replace(group, prompt_columns={"level": place + 0.3, **more}) for place, group in enumerate(PROMPTS)
    ]


def batch_of(objective, folder, **options):
    """Return the batch that `loss` gets at the first step, and its trainer."""
    seen, inner = [], type(objective).loss

    class Seen(type(objective)):
        def loss(self, batch):
            seen.append(batch)
            return inner(self, batch)

    one = trainer(folder, Seen(**objective.model_dump(exclude_unset=True)), steps=1, **options)
    one.open()
    one.step(0)
    return seen[0], one


def test_columns_of_prompts_are_columns_in_loss_and_pairs_have_their_weight(tmp_path):
    class Paired(Levelled):
        def prepare(self, rollouts):
            return rollouts.with_(rank=torch.arange(len(rollouts)).float())

    batch, _ = batch_of(Paired(samples_per_prompt=2), tmp_path, prompts=levels(weight=3.0))
    assert {"level", "weight", "finished"} <= batch.columns.keys()
    assert not {"level", "weight", "finished"} & batch.signals.keys()
    place = {tuple(group.prompt): at for at, group in enumerate(PROMPTS)}
    expected = [place[tuple(batch.prompts[number].tokens)] + 0.3 for number in batch.group.tolist()]
    torch.testing.assert_close(batch.level, torch.tensor(expected))
    assert batch.get("level") is batch.level
    assert batch.pairs().weight.tolist() == [3.0] * 3


def test_what_prepare_adds_stands_before_a_column_of_its_name_however_it_is_read(tmp_path):
    class Weighs(Levelled):
        def prepare(self, rollouts):
            return rollouts.with_(weight=2 * rollouts.weight)

    batch, _ = batch_of(Weighs(samples_per_prompt=2), tmp_path, prompts=levels(weight=3.0))
    assert batch.weight.tolist() == [6.0] * 6
    assert batch.get("weight") is batch.weight


class GuidedByLevel(Guided):
    def loss(self, batch):
        return Loss(-batch.level * (batch.logps * batch.mask).sum(-1))


def test_samples_beside_the_datas_completions_have_the_numbers_of_the_row(tmp_path):
    prompts = [replace(group, completions=([9, 8, 1], [7, 1])) for group in PROMPTS]
    one = trainer(tmp_path, GuidedByLevel(), prompts=prompts, texts=None, steps=1)
    examples = [
        Example(f"{at}", ("a", "b"), extra={"level": str(at), "odd": [1, 2], "some": 1 if at else None})
        for at in range(len(PROMPTS))
    ]
    source = one.terms[0].source
    again = type(source)(
        source.objective,
        replace(source.drawer.prompts, examples=examples),
        source.drawer.sampler,
        source.collector.scorer,
        source.roles,
        sampling=source.drawer.sampling,
        folder=source.files.folder,
        seed=0,
        batch_size=3,
        budget=source.budget,
        note=source.note,
    )
    again.begin(0)
    rollouts = again.batch.rollouts
    place = {tuple(group.prompt): float(at) for at, group in enumerate(PROMPTS)}
    assert rollouts.columns.keys() == {"finished", "level"}
    assert rollouts.level.tolist() == [
        place[tuple(rollouts.prompts[number].tokens)] for number in rollouts.group.tolist()
    ]


@pytest.mark.parametrize("method", ["prepare", "loss"])
def test_a_column_that_only_some_rows_have_is_told_as_such(method, tmp_path):
    class Early(Levelled):
        def prepare(self, rollouts):
            return rollouts.with_(early=rollouts.level) if method == "prepare" else rollouts

    one = trainer(tmp_path, Early(samples_per_prompt=2), steps=1)
    source = one.terms[0].source
    source.drawer.prompts.report.left_out["level"] = "only 3 of 7 rows have numbers 'level'"
    with pytest.raises(UserError, match="the data has no column 'level': only 3 of 7 rows have numbers"):
        one.run()


class Baselined(OnlineObjective):
    """Reads the value model, which another objective trains."""

    name = "baselined"
    data = Prompts
    reads = {"value"}

    def prepare(self, rollouts):
        return rollouts.with_(before=rollouts.values)

    def loss(self, batch):
        return Loss(-batch.rewards[:, None] * batch.logps, batch.mask, {"values": batch.values})


class Regressed(Objective):
    name = "regressed"
    data = Preferences
    trains = {"value"}

    def loss(self, batch):
        return Loss((batch.values - 1) ** 2, batch.mask)


def test_a_role_that_is_read_and_trained_by_another_objective_is_as_it_is_now(tmp_path):
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    roles.add("value", trainable=True)
    settings = Training(batch_size=3, steps=2, learning_rate=1e-2)
    terms = TinyTerms(roles, settings, tmp_path)
    objective = Baselined(samples_per_prompt=2, epochs=2)
    other = terms.fixed(Regressed(), [Group([5], ([7, 8, 1], [9, 1]))] * 3)
    one = terms.trainer(terms.online(objective, PROMPTS, parity, max_tokens=3), other)
    one.open()
    values = [one.step(number).metrics["baselined/values"] for number in range(2)]
    assert values[0] == 0
    assert values[1] > 1e-3


def uncertain(policy):
    return -(policy.exp() * policy).sum(-1)


class Uncertain(Levelled):
    over_vocabulary = {"level": uncertain}


class UncertainOffline(Objective):
    name = "offline"
    data = Preferences
    over_vocabulary = {"level": uncertain}

    def loss(self, batch):
        return Loss(batch.level, batch.mask)


def test_a_column_of_the_name_of_a_signal_is_refused(tmp_path):
    told = r"the data has a column 'level', and the objective computes a signal of this name"
    with pytest.raises(UserError, match=told):
        trainer(tmp_path, Uncertain(samples_per_prompt=2), prompts=levels())
    roles = tiny_roles()
    roles.add("policy", trainable=True)
    groups = [Group([5], ([7, 1],), {"level": (1.0,)})]
    with pytest.raises(UserError, match=told):
        TinyTerms(roles, Training(), tmp_path).fixed(UncertainOffline(), groups)
    trainer(tmp_path, Uncertain(samples_per_prompt=2))
