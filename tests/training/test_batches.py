"""Batches of an objective: joined, cut, arranged; the whole step at once; several losses."""

import pytest
import torch
from whole_steps import GROUPS, Several, gradient_of, trainer

from alignkit import Batch, Demonstrations, Group, Loss, Objective, Prompt, UserError
from alignkit.training.batches import cut, join


def batch(widths, first, columns=("rank",)):
    mask = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    tokens = (first + torch.arange(mask.numel()).view(mask.shape)) * mask
    signals = {"logps": tokens.float(), "scores": torch.tensor(widths).float() + first}
    named = {name: torch.full((len(widths),), float(first)) for name in columns}
    group = torch.tensor([0] + [1] * (len(widths) - 1))
    return Batch(tokens, mask, group, named, signals, tuple(Prompt([first + n]) for n in (0, 1)))


def test_joined_batches_are_padded_alike_and_their_prompts_numbered_on():
    one, two = batch([2, 1], 10), batch([1, 3, 2], 50, columns=("rank", "margin"))
    whole = join([one, two])
    assert whole.mask.shape == (5, 3)
    assert whole.mask.sum(-1).tolist() == [2, 1, 1, 3, 2]
    assert whole.group.tolist() == [0, 1, 2, 3, 3]
    assert [prompt.tokens for prompt in whole.prompts] == [[10], [11], [50], [51]]
    assert whole.columns.keys() == {"rank"}
    assert whole.scores.tolist() == [12, 11, 51, 53, 52]
    assert whole.tokens[0].tolist() == [10, 11, 0]


def test_cut_undoes_join():
    parts = [batch([2, 1], 10), batch([1, 3, 2], 50), batch([1, 4], 7)]
    whole = join(parts)
    for name in ("logps", "scores"):
        for piece, part in zip(cut(whole.signals[name], parts), parts, strict=True):
            assert torch.equal(piece, part.signals[name])


class Mismatched(Objective):
    """Adds to each prompt the first completion of the next one, marked by a column."""

    name = "mismatched"
    data = Demonstrations
    reads = {"reference"}

    def arrange(self, groups):
        others = [*groups[1:], groups[0]]
        return [
            Group(
                group.prompt,
                (group.completions[0], other.completions[0]),
                {"stranger": (0.0, 1.0)},
            )
            for group, other in zip(groups, others, strict=True)
        ]

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        return Loss(torch.where(batch.stranger > 0, ratio.square(), -ratio))


def test_an_objective_may_add_completions_and_columns_to_its_groups(tmp_path):
    one = trainer(Mismatched(), tmp_path / "a", groups=GROUPS[:5], held_out=GROUPS[5:])
    one.open()
    (term,) = one.terms
    batches = one._batches(term.objective)
    chosen = batches.choose(term.source, term.source.indices(0), 0)
    assert [len(group.completions) for group in chosen.groups] == [2] * 5
    by_hand = batches.make(chosen, range(5))
    assert by_hand.stranger.tolist() == [0.0, 1.0] * 5
    grads = torch.autograd.grad(term.objective.loss(by_hand).terms.mean(), list(one.parameters.values()))
    found, _ = gradient_of(one)
    for gradient, wanted in zip(found.values(), grads, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-5, rtol=1e-4)
    assert "held_out/loss" in one.evaluate()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda groups: None, "`arrange` returned None"),
        (lambda groups: [1], "`arrange` returned 1 of int"),
        (lambda groups: [Group([1])], "each with completions"),
        (lambda groups: [Group([1], ([2],), {"a": (1.0, 2.0)})], "'a' 2 values for 1"),
    ],
)
def test_an_arrangement_that_is_no_groups_is_refused(answer, told, tmp_path):
    class Wrong(Mismatched):
        def arrange(self, groups):
            return answer(groups)

    one = trainer(Wrong(), tmp_path)
    one.open()
    with pytest.raises(UserError, match=told):
        one.step(0)


def test_a_batch_knows_its_step_and_its_prompts(tmp_path):
    seen = []

    class Asks(Several):
        def loss(self, batch: Batch):
            seen.append((batch.step, batch.steps, [prompt.tokens for prompt in batch.prompts]))
            return super().loss(batch)

    one = trainer(Asks(), tmp_path, steps=3)
    one.open()
    one.step(2)
    ((step, steps, prompts),) = seen
    assert (step, steps) == (2, 3)
    (term,) = one.terms
    assert sorted(prompts) == sorted(GROUPS[index].prompt for index in term.source.indices(2))
