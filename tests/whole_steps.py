"""Objectives that see whole steps or return several losses, and a trainer of one on tiny roles."""

import random

from tiny_models import random_groups, shake, tiny_roles
from tiny_training import TinyTerms
from torch.nn.functional import logsigmoid

from alignkit import Average, Batch, Loss, Objective, Preferences
from alignkit.recipe import Training

GROUPS = [group for group in random_groups(random.Random(5), 30, most=4) if len(group.completions) > 1][:9]


class Contrast(Objective):
    """A loss of the whole step, with a sort and a batch statistic."""

    name = "contrast"
    data = Preferences
    reads = {"reference"}
    scope = "step"

    def loss(self, batch: Batch) -> Loss:
        ratio = ((batch.logps - batch.reference_logps) * batch.mask).sum(-1)
        centred = (ratio - ratio.mean()) / (ratio.std() + 1)
        order = ratio.argsort()
        return Loss(-logsigmoid(centred + 0.1 * ratio[order.flip(0)]), None, {"spread": ratio.detach()})


class Entropic(Contrast):
    """The same with a function over the vocabulary and the policy's entropy."""

    entropy = True
    over_vocabulary = {"divergence": lambda policy, reference: (policy.exp() * (policy - reference)).sum(-1)}

    def loss(self, batch: Batch) -> Loss:
        moved = ((batch.divergence + 0.2 * batch.entropy) * batch.mask).sum(-1)
        return Loss(super().loss(batch).terms * (1 + moved / moved.mean()))


def trainer(objective, folder, groups=GROUPS, dropout=0.0, held_out=(), following=None, **settings):
    roles = tiny_roles()
    if dropout:
        roles.lora = roles.lora.model_copy(update={"dropout": dropout})
    for name in sorted(objective.trains):
        roles.add(name, trainable=True)
        shake(roles, name)
    for name in sorted(objective.reads):
        roles.add(name, trainable=False, following=following)
    options = {"batch_size": 5, "learning_rate": 1e-2, "max_grad_norm": 1e9, **settings}
    terms = TinyTerms(roles, Training(**options), folder)
    return terms.trainer(terms.fixed(objective, groups, held_out))


def gradient_of(one):
    one.open()
    metrics = one.step(0).metrics
    return {name: parameter.grad.clone() for name, parameter in one.parameters.items()}, metrics


class Several(Objective):
    """Two losses, one per completion and one per token, each with weights of its own."""

    name = "several"
    data = Preferences

    def loss(self, batch: Batch):
        best = batch.best()
        weight = batch.mask * (1 + batch.rank)[:, None]
        ratio = (batch.logps * batch.mask).sum(-1)
        return (
            Loss(-logsigmoid(ratio / 10), best.float(), {"best": Average(ratio[best])}),
            Loss(-batch.logps, weight, {"surprise": -batch.logps}, factor=0.3),
        )
