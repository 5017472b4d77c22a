"""Calls of an objective's methods: what is wrong is told by objective, file and line."""

from dataclasses import replace

import pytest
import torch

from alignkit import Average, Batch, Demonstrations, Loss, Objective, UserError
from alignkit.example import Group
from alignkit.training.calling import arranged, begin_step, call, end_step, losses_of

BATCH = Batch(
    torch.ones(2, 3, dtype=torch.long),
    torch.ones(2, 3, dtype=torch.bool),
    torch.tensor([0, 1]),
    {},
    {"logps": -torch.ones(2, 3)},
)


def objective(loss, **methods):
    body = {
        "name": "made",
        "data": Demonstrations,
        "__module__": __name__,
        "loss": lambda self, batch: loss(self, batch),
        **methods,
    }
    return type("Made", (Objective,), body)()


def fails(self, batch):
    return batch.logps.nonsense


def forgets(self, batch):
    self.state["count"] = 1.0
    return Loss(-batch.logps)


def misspells(self, batch):
    return Loss(-batch.logpz)


def undeclared(self, batch):
    return Loss(-batch.reference_logps)


WRONG = {
    "an error": (fails, r"'made', .*test_calling\.py:\d+: `loss` failed with AttributeError"),
    "an undeclared signal": (undeclared, r'test_calling\.py:\d+: .*Declare "reference" in `reads`'),
    "a misspelt signal": (misspells, "batch.logpz(.|\n)*Did you mean 'logps'"),
    "state": (forgets, r"objective 'made': state\['count'\] is changed in `loss`"),
    "nothing": (lambda s, b: None, "`loss` returned None; expected a Loss"),
    "a tensor": (lambda s, b: b.logps.sum(), "`loss` returned Tensor; expected a Loss"),
    "an empty tuple": (lambda s, b: (), "`loss` returned 0 of nothing; expected a Loss"),
    "losses and more": (lambda s, b: (Loss(b.logps), 1), "returned 2 of Loss, int"),
    "a term": (lambda s, b: Loss(1.0), "the terms of its loss are float; expected a tensor"),
    "a weight": (lambda s, b: Loss(b.logps, 1.0), "the weight of its loss is float"),
    "a weight's shape": (
        lambda s, b: Loss(b.logps, torch.ones(2)),
        r"terms of shape \(2, 3\) and weight of shape \(2,\)(.|\n)*pass the mask",
    ),
    "a negative weight": (
        lambda s, b: Loss(b.logps, b.logps),
        "objective 'made'.*the weight of its loss has negative values",
    ),
    "an infinite weight": (lambda s, b: Loss(b.logps, b.logps / 0), "values that are not finite"),
    "a weight with a gradient": (
        lambda s, b: Loss(b.logps, torch.ones(2, 3, requires_grad=True)),
        "the weight of its loss has a gradient",
    ),
    "a factor": (lambda s, b: Loss(b.logps, factor="x"), "factor of its loss is 'x'; expected a finite"),
    "a factor that is not finite": (
        lambda s, b: Loss(b.logps, factor=float("nan")),
        "factor of its loss is nan",
    ),
    "a tensor as factor": (
        lambda s, b: Loss(b.logps, factor=b.logps.mean()),
        "the factor of its loss is tensor",
    ),
    "a metric of the engine": (
        lambda s, b: Loss(b.logps, metrics={"loss": b.logps}),
        "it reports a metric 'loss'",
    ),
    "metrics": (lambda s, b: Loss(b.logps, metrics=[1]), "the metrics of its loss are 1 of int"),
    "an average": (lambda s, b: Loss(b.logps, metrics={"m": Average(0.3)}), "'m' averages float; expected"),
    "a metric": (lambda s, b: Loss(b.logps, metrics={"m": 1.0}), "the metric 'm' is float"),
}


@pytest.mark.parametrize(("loss", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_loss_is_told_by_its_own_reason(loss, told):
    with pytest.raises(UserError, match=told):
        losses_of(objective(loss), BATCH)


def test_one_loss_or_several_come_as_a_tuple():
    one = losses_of(objective(lambda s, b: Loss(b.logps)), BATCH)
    two = losses_of(objective(lambda s, b: [Loss(b.logps), Loss(b.logps.sum(-1), factor=2)]), BATCH)
    assert (len(one), len(two), two[1].factor) == (1, 2, 2)


def test_the_methods_around_a_step_may_write_the_state_and_loss_may_read_it():
    made = objective(
        lambda s, b: Loss(-s.state["scale"] * b.logps),
        begin_step=lambda self, step, steps: self.state.update(scale=1 + step / steps),
        end_step=lambda self, metrics: self.state.update(last=metrics["loss"]),
    )
    begin_step(made, 1, 4)
    (loss,) = losses_of(made, BATCH)
    assert float(loss.terms.sum()) == pytest.approx(6 * 1.25)
    end_step(made, {"loss": 3.0})
    assert dict(made.state) == {"scale": 1.25, "last": 3.0}


def test_a_mistake_in_another_method_is_told_too():
    made = objective(lambda s, b: Loss(b.logps), begin_step=lambda self, step, steps: 1 / 0)
    with pytest.raises(UserError, match=r"test_calling\.py:\d+: `begin_step` failed with ZeroDivisionError"):
        call(made, "begin_step", 0, 1)


def test_a_metric_beside_weighted_terms_of_another_shape_names_its_weights():
    weight, values = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0])
    loss = Loss(values, weight, {"same": values, "own": Average(values), "tokens": Average(-BATCH.logps)})
    assert {name: one.sums()[1] for name, one in loss.averages().items()} == {
        "same": 4,
        "own": 2,
        "tokens": 6,
    }
    with pytest.raises(UserError, match=r"'m' has the shape \(2, 3\)(.|\n)*Average\(values, weight\)"):
        Loss(values, weight, {"m": BATCH.logps}).averages()


def test_the_state_can_only_be_read_while_groups_are_arranged():
    def counts(self, groups):
        self.state["count"] = 1.0
        return groups

    with pytest.raises(UserError, match=r"state\['count'\] is changed in `arrange`"):
        arranged(objective(lambda s, b: Loss(b.logps), arrange=counts), [], 100)


PLAIN = Group([3], ([4, 1], [5, 6, 1]), {"rank": (0.0, 1.0)})
ODD = {
    "an id that is none": ([replace(PLAIN, completions=([4, 100], [1]))], "token id 100; .*from 0 to 99"),
    "an id of a prompt": ([replace(PLAIN, prompts={"hint": [-1]})], "the token id -1"),
    "a short mask": ([replace(PLAIN, masks=((True,), (True,)))], r"masks of \[1, 1\] tokens(.|\n)*\[2, 3\]"),
    "a missing mask": ([replace(PLAIN, masks=((True, True),))], r"masks of \[2\] tokens"),
    "too many tokens": ([replace(PLAIN, columns={"w": ((1.0,) * 3, (1.0,) * 3)})], "'w' .*of 2 tokens"),
    "numbers and lists": ([replace(PLAIN, columns={"w": (1.0, (1.0,) * 3)})], "'w' .*of 3 tokens"),
    "text": ([replace(PLAIN, columns={"w": ("a", "b")})], "the column 'w' 'a'"),
    "a column in one group": ([PLAIN, replace(PLAIN, columns={})], "other columns than others: rank"),
    "two kinds": (
        [replace(PLAIN, columns={"w": (1.0, 2.0)}), replace(PLAIN, columns={"w": ((1.0,) * 2, (1.0,) * 3)})],
        "other columns than others: w",
    ),
}


@pytest.mark.parametrize(("groups", "told"), ODD.values(), ids=ODD)
def test_groups_that_could_not_be_laid_out_are_refused(groups, told):
    with pytest.raises(UserError, match=told):
        arranged(objective(lambda s, b: Loss(b.logps), arrange=lambda self, given: groups), [PLAIN], 100)


def test_groups_with_masks_and_numbers_of_tokens_are_taken():
    right = replace(
        PLAIN, masks=((True, False), (True,) * 3), columns={"rank": (0.0, 1), "w": ((1.0,) * 2, [0.5] * 3)}
    )
    made = objective(lambda s, b: Loss(b.logps), arrange=lambda self, given: [right, right])
    assert arranged(made, [PLAIN], 100) == [right, right]
