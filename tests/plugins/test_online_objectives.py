"""What holds for every online objective: nothing depends on padding, on order, or on the cut into
micro-batches.
"""

from dataclasses import replace

import pytest
import torch
from made_rollouts import at_loss, moved, padded, random_rollouts, sums

from alignkit.training.averages import Averages
from alignkit_ppo import ProximalPolicyOptimization
from alignkit_raft import RewardRankedFineTuning
from alignkit_reinforce import Reinforce

OBJECTIVES = {
    "reinforce": lambda: Reinforce(missing_eos_penalty=1.0),
    "reinforce by tokens": lambda: Reinforce(level="token", kl_estimator="k3", normalize_advantages=True),
    "reinforce by the batch": lambda: Reinforce(baseline="batch-mean", normalize_advantages=True),
    "reinforce clipped": lambda: Reinforce(clip=0.2, epochs=2),
    "reinforce clipped by tokens": lambda: Reinforce(
        level="token", clip=0.2, epochs=2, baseline="moving-average"
    ),
    "ppo": lambda: ProximalPolicyOptimization(missing_eos_penalty=1.0),
    "ppo whitened": lambda: ProximalPolicyOptimization(
        whiten_rewards=True, kl_estimator="k3", gamma=0.9, entropy_coef=0.1
    ),
    "raft": lambda: RewardRankedFineTuning(keep=2),
    "raft over the batch": lambda: RewardRankedFineTuning(over="batch"),
}


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]()


def present(rollouts, seed=0):
    signals = moved(rollouts, seed)
    return {**signals, "entropy": -signals["logps"] * 2}


@pytest.mark.parametrize("seed", range(5))
def test_padding_changes_nothing(objective, seed):
    narrow = objective.prepare(random_rollouts(seed))
    objective.state.clear()
    wide = objective.prepare(padded(random_rollouts(seed), 3))
    for name, tensor in narrow.signals.items():
        found = wide.signals[name]
        if tensor.dim() == 2:
            assert torch.equal(found[:, tensor.shape[1] :], torch.zeros_like(found[:, tensor.shape[1] :])), (
                name
            )
            found = found[:, : tensor.shape[1]]
        torch.testing.assert_close(found, tensor, rtol=0, atol=1e-12, msg=name)
    current = present(narrow)
    wider = {name: torch.nn.functional.pad(tensor, (0, 3)) for name, tensor in current.items()}
    for one, other in zip(
        sums(objective.loss(at_loss(narrow, **current))),
        sums(objective.loss(at_loss(wide, **wider))),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_completions_permutes_the_results(objective, seed):
    rollouts = random_rollouts(seed)
    permutation = torch.randperm(len(rollouts), generator=torch.Generator().manual_seed(seed))
    straight = objective.prepare(rollouts)
    objective.state.clear()
    shuffled = objective.prepare(rollouts.select(permutation))
    assert sorted(straight.tokens[:, 0].tolist()) == sorted(shuffled.tokens[:, 0].tolist())
    places = [shuffled.tokens[:, 0].tolist().index(number) for number in straight.tokens[:, 0].tolist()]
    back = shuffled.select(torch.tensor(places))
    for name, tensor in straight.signals.items():
        torch.testing.assert_close(back.signals[name], tensor, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_micro_batches_leave_the_loss_its_gradient_and_the_metrics_the_same(objective, seed):
    prepared = objective.prepare(random_rollouts(seed))
    current = present(prepared)
    batch = at_loss(prepared, **current)
    leaves = [current["logps"], current["values"]]
    whole = objective.loss(batch)
    total, weight = sums(whole)
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
    averages, parts = Averages(), Averages()
    averages.add([whole])
    part_total, part_weight, part_gradients = 0.0, 0.0, [0.0, 0.0]
    for index in torch.randperm(len(prepared), generator=torch.Generator().manual_seed(seed)).split(3):
        loss = objective.loss(batch.select(index))
        found, share = sums(loss)
        parts.add([loss])
        part_total, part_weight = part_total + found.detach(), part_weight + share
        for n, gradient in enumerate(
            torch.autograd.grad(found, leaves, allow_unused=True, retain_graph=True)
        ):
            part_gradients[n] = part_gradients[n] + (0.0 if gradient is None else gradient)
    torch.testing.assert_close(part_total, total.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(part_weight, weight, rtol=0, atol=0)
    for one, other in zip(part_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other if other is not None else 0.0, rtol=0, atol=1e-12)
    assert parts.means() == pytest.approx(averages.means(), abs=1e-5)


def test_prepare_keeps_the_precision_of_the_rollouts(objective):
    rollouts = random_rollouts(0)
    single = {name: tensor.float() for name, tensor in rollouts.signals.items()}
    prepared = objective.prepare(replace(rollouts, signals=single))
    assert {tensor.dtype for tensor in prepared.signals.values()} == {torch.float32}
    current = {name: tensor.float() for name, tensor in present(prepared).items()}
    loss = objective.loss(at_loss(prepared, **current))
    metrics = [average.values for average in loss.averages().values()]
    assert {tensor.dtype for tensor in (loss.terms, *metrics)} == {torch.float32}
