"""DAPO: numbers by hand, the conformance suite, and two steps on the bundled model."""

import statistics

import pytest
import torch

from alignkit import Batch, Rollouts, UserError
from alignkit.testing import check_objective


def completions(group, mask, kind=Rollouts, **signals):
    """Completions with these signals, whose tokens do not matter."""
    mask = torch.tensor(mask, dtype=torch.bool)
    return kind(torch.ones_like(mask, dtype=torch.long), mask, torch.tensor(group), {}, signals)


def test_prompts_whose_samples_are_all_right_or_all_wrong_are_refused(installed):
    from alignkit_dapo import DynamicSampling

    right = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 1, 0])
    lengths = torch.arange(9.0)  # the sum of the rewards always differs, and must not decide
    rollouts = completions([0, 0, 0, 1, 1, 1, 2, 2, 2], [[1]] * 9)
    rollouts = rollouts.with_(rewards=right + lengths, **{"reward_parts/right": right})
    assert DynamicSampling(correct="right").accept(rollouts).tolist() == [False, False, True]
    with pytest.raises(UserError, match="no reward of this stage is called 'wrong'; found: right"):
        DynamicSampling(correct="wrong").accept(rollouts)


def test_advantages_are_those_of_the_group(installed):
    from alignkit_dapo import DynamicSampling

    # (0, 0, 3): the mean is 1, the deviation √((1 + 1 + 4) ÷ 2) = √3. Of equal rewards nothing is left.
    rollouts = completions([0, 0, 0, 1, 1, 1], [[1]] * 6, rewards=torch.tensor([0.0, 0, 3, 0.1, 0.1, 0.1]))
    found = DynamicSampling(correct="any").prepare(rollouts).advantages
    root = 3**0.5
    assert found.tolist() == pytest.approx([-1 / root, -1 / root, 2 / root, 0, 0, 0], abs=1e-5)
    assert found[3:].tolist() == [0, 0, 0]


def test_the_loss_is_that_of_the_paper_by_hand(installed):
    from alignkit_dapo import DynamicSampling

    # Ratios 1.5 and 1.1 of a completion that was better, 0.5 of one that was worse; one token is padding.
    batch = completions(
        [0, 0],
        [[1, 1], [1, 0]],
        Batch,
        logps=torch.tensor([[1.5, 1.1], [0.5, 1.0]]).log().requires_grad_(),
        old_logps=torch.zeros(2, 2),
        advantages=torch.tensor([2.0, -1.0]),
        finished=torch.tensor([1.0, 0.0]),
    )
    loss = DynamicSampling(correct="any", clip_low=0.2, clip_high=0.28).loss(batch)
    total, weight = loss.total()
    # 1.5 is cut to 1.28, and 0.5 to 0.8: −(2·1.28 + 2·1.1 − 1·0.8) over 3 tokens
    assert (total / weight).item() == pytest.approx(-(2.56 + 2.2 - 0.8) / 3)
    (gradient,) = torch.autograd.grad(total, batch.logps)
    # only the ratio that is not cut has a gradient: d(−2·r)/d log r = −2·1.1
    assert gradient.flatten().tolist() == pytest.approx([0, -2.2, 0, 0])
    clipped, tokens = loss.averages()["policy/clipped"].sums()
    assert (clipped.item(), tokens) == (2, 3)
    filtered = DynamicSampling(correct="any", filter_overlong=True).loss(batch)
    total, weight = filtered.total()
    assert (total / weight).item() == pytest.approx(-(2.56 + 2.2) / 2)


def test_the_punishment_grows_over_the_last_tokens(installed):
    from alignkit_dapo import SoftOverlong

    lengths = [5, 6, 7, 8, 10, 11]
    found = SoftOverlong(limit=10, cache=4).score([], [], [[0] * length for length in lengths])
    assert found == pytest.approx([0, 0, -0.25, -0.5, -1, -1])


@pytest.mark.parametrize("options", [{}, {"filter_overlong": True, "epochs": 2}])
def test_it_conforms(installed, options):
    from alignkit_dapo import DynamicSampling

    check_objective(DynamicSampling(correct="first", **options))


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("dapo")
    samples, scores = run.rollouts("dapo")
    mixed = [set(right) == {0, 1} for right in scores["each"]["exact-answer"]]
    assert first["rollouts/accepted"] == pytest.approx(sum(mixed) / len(samples))
    # Before the first update all ratios are 1, so the loss is −Σ|y|·A ÷ Σ|y| over the accepted prompts.
    earned = tokens = 0
    for sample, total in [(s, t) for s, t, yes in zip(samples, scores["total"], mixed, strict=True) if yes]:
        lengths = [len(ids) for ids in sample["tokens"]]
        mean, deviation = statistics.mean(total), statistics.stdev(total)
        earned += sum(n * (r - mean) / deviation for n, r in zip(lengths, total, strict=True))
        tokens += sum(lengths)
    assert first["loss"] == pytest.approx(-earned / tokens, abs=1e-4)
    assert second["loss"] < first["loss"] - 1e-4  # the second pass over the same samples
