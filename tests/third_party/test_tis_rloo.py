"""TIS-corrected RLOO: a number by hand, the conformance suite, and two steps on the bundled model."""

import pytest
import torch

from alignkit import Batch, Rollouts
from alignkit.testing import check_objective


def test_advantages_are_the_distance_from_the_other_samples(installed):
    from alignkit_tis_rloo import CorrectedLeaveOneOut

    mask = torch.ones(4, 1, dtype=torch.bool)
    rewards = torch.tensor([1.0, 2, 6, 5])
    rollouts = Rollouts(mask.long(), mask, torch.tensor([0, 0, 0, 1]), signals={"rewards": rewards})
    # 1 − (2 + 6) ÷ 2, 2 − (1 + 6) ÷ 2, 6 − (1 + 2) ÷ 2; the second prompt has no other sample
    assert CorrectedLeaveOneOut().prepare(rollouts).advantages.tolist() == [-3, -1.5, 4.5]


def test_the_loss_is_weighted_and_cut_by_hand(installed):
    from alignkit_tis_rloo import CorrectedLeaveOneOut

    # One completion of three tokens, π_old/q = 0.5, 1.5 and 4, π/π_old = 1, 1.2 and 1, and one of padding.
    old = torch.tensor([[-1.0, -1.0, -1.0, 0.0]])
    batch = Batch(
        torch.ones(1, 4, dtype=torch.long),
        torch.tensor([[True, True, True, False]]),
        torch.zeros(1, dtype=torch.long),
        signals={
            "old_logps": old,
            "logps": (old + torch.tensor([[1.0, 1.2, 1.0, 9.0]]).log()).requires_grad_(),
            "sampler_logps": old - torch.tensor([[0.5, 1.5, 4.0, 1.0]]).log(),
            "advantages": torch.tensor([3.0]),
        },
    )
    loss = CorrectedLeaveOneOut(cap=2.0).loss(batch)
    # −3·(0.5·1 + 1.5·1.2 + 2·1): the third weight is cut
    assert loss.terms.tolist() == pytest.approx([-3 * (0.5 + 1.8 + 2.0)])
    (gradient,) = torch.autograd.grad(loss.terms.sum(), batch.logps)
    assert gradient.flatten().tolist() == pytest.approx([-3 * 0.5, -3 * 1.8, -3 * 2.0, 0])
    averages = {name: value.sums() for name, value in loss.averages().items()}
    assert averages["sampler/weight"] == (pytest.approx(0.5 + 1.5 + 2.0), 3)
    assert averages["sampler/truncated"] == (1, 3)


@pytest.mark.parametrize("options", [{}, {"cap": 0.5, "epochs": 2}])
def test_it_conforms(installed, options):
    from alignkit_tis_rloo import CorrectedLeaveOneOut

    check_objective(CorrectedLeaveOneOut(**options))


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("tis_rloo")
    samples, scores = run.rollouts("tis_rloo")
    # The engine's sampler computes the trainer's log-probabilities, at another temperature than 1 too.
    assert first["sampler/weight"] == pytest.approx(1, abs=1e-3)
    assert first["sampler/truncated"] == 0
    terms = []
    for sample, rewards in zip(samples, scores["total"], strict=True):
        for own, reward in enumerate(rewards):
            advantage = reward - (sum(rewards) - reward) / (len(rewards) - 1)
            terms.append(-advantage * len(sample["tokens"][own]))
    assert first["loss"] == pytest.approx(sum(terms) / len(terms), abs=1e-2)
    assert second["loss"] < first["loss"]  # the second pass over the same samples
