"""Calls of an objective's methods: what is wrong is told by objective, file and line."""

import pytest
import torch

from alignkit import Average, Batch, Demonstrations, Loss, Objective, UserError
from alignkit.training.calling import begin_step, call, end_step, losses_of

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
