"""Each objective against numbers derived by hand from its formula."""

import math

import pytest
import torch

from alignkit import Batch
from alignkit.batch import MissingSignal
from alignkit_bradley_terry import BradleyTerry
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_sft import SupervisedFineTuning
from alignkit_unlikelihood import SURPRISE_FLOOR, Unlikelihood, unlikelihood


def batch(group, rank=None, mask=None, **signals):
    count = len(group)
    mask = torch.ones(count, 1, dtype=torch.bool) if mask is None else torch.tensor(mask, dtype=torch.bool)
    columns = {} if rank is None else {"rank": torch.tensor(rank, dtype=torch.float32)}
    for name in ("votes", "margin", "weight"):
        if name in signals:
            columns[name] = torch.tensor(signals.pop(name))
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in signals.items()}
    return Batch(torch.zeros(mask.shape, dtype=torch.long), mask, torch.tensor(group), columns, tensors)


def value(loss):
    weight = torch.ones_like(loss.terms) if loss.weight is None else loss.weight
    return float((loss.terms * weight).sum() / weight.sum())


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


def test_sft_is_the_mean_surprise_of_completion_tokens():
    found = SupervisedFineTuning().loss(
        batch([0, 1], mask=[[1, 1], [1, 0]], logps=[[-1.0, -2.0], [-4.0, 0.0]])
    )
    assert value(found) == pytest.approx((1 + 2 + 4) / 3)


def test_sft_weighs_examples_by_the_weight_column():
    found = SupervisedFineTuning().loss(batch([0, 1], logps=[[-1.0], [-4.0]], weight=[3.0, 1.0]))
    assert value(found) == pytest.approx((3 * 1 + 1 * 4) / 4)


def test_bradley_terry_is_minus_log_sigmoid_of_the_difference():
    found = BradleyTerry().loss(batch([0, 0], [0, 1], scores=[2.0, 0.5]))
    assert value(found) == pytest.approx(-log_sigmoid(1.5))
    assert found.metrics["rewards/accuracies"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("objective", "signals"),
    [
        (BradleyTerry(), {"scores": [0.5, 0.5, 1.0, 2.0]}),
        (
            DirectPreferenceOptimization(),
            {"logps": [[-1.0], [-1.0], [-2.0], [-1.0]], "reference_logps": [[-1.0], [-1.0], [-1.0], [-1.0]]},
        ),
    ],
)
def test_an_accuracy_counts_a_tie_as_one_half(objective, signals):
    found = objective.loss(batch([0, 0, 1, 1], [0, 1, 0, 1], **signals))
    assert found.metrics["rewards/accuracies"].tolist() == [0.5, 0.0]


def test_bradley_terry_subtracts_the_margin_column():
    found = BradleyTerry(margin=True).loss(batch([0, 0], [0, 1], scores=[2.0, 0.5], margin=[0.7, 0.7]))
    assert value(found) == pytest.approx(-log_sigmoid(0.8))


def test_bradley_terry_with_votes_is_the_cross_entropy_to_the_share_of_annotators():
    found = BradleyTerry(votes=True).loss(batch([0, 0], [0, 1], scores=[1.0, 0.0], votes=[3.0, 1.0]))
    assert value(found) == pytest.approx(-0.75 * log_sigmoid(1) - 0.25 * log_sigmoid(-1))


def test_bradley_terry_with_votes_is_least_where_the_model_says_the_share():
    scores = torch.linspace(-3, 3, 601)
    losses = [
        value(BradleyTerry(votes=True).loss(batch([0, 0], [0, 1], scores=[float(s), 0.0], votes=[3.0, 1.0])))
        for s in scores
    ]
    assert float(scores[losses.index(min(losses))].sigmoid()) == pytest.approx(0.75, abs=0.01)


def test_a_ranking_of_three_counts_its_three_pairs_a_third_each():
    found = BradleyTerry().loss(batch([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], scores=[3.0, 1.0, 0.0, 0.0, 0.5]))
    ranking = (log_sigmoid(2) + log_sigmoid(3) + log_sigmoid(1)) / 3
    assert value(found) == pytest.approx(-(ranking + log_sigmoid(-0.5)) / 2)


def test_ties_give_no_pair():
    pairs = batch([0, 0, 0], [0, 0, 1], scores=[0.0] * 3).pairs()
    assert list(zip(pairs.winner.tolist(), pairs.loser.tolist(), strict=True)) == [(0, 2), (1, 2)]
    assert pairs.weight.tolist() == [0.5, 0.5]


def test_dpo_by_hand():
    found = DirectPreferenceOptimization(beta=0.5).loss(
        batch(
            [0, 0],
            [0, 1],
            mask=[[1, 1], [1, 0]],
            logps=[[-1.0, -1.0], [-3.0, 9.0]],
            reference_logps=[[-1.5, -1.5], [-2.0, 9.0]],
        )
    )
    assert value(found) == pytest.approx(-log_sigmoid(0.5 * (1.0 - (-1.0))))
    assert found.metrics["rewards/chosen"].item() == pytest.approx(0.5)
    assert found.metrics["rewards/rejected"].item() == pytest.approx(-0.5)
    assert found.metrics["logps/chosen"].item() == -2.0


def test_dpo_with_label_smoothing_mixes_both_directions():
    signals = {"logps": [[-1.0], [-3.0]], "reference_logps": [[-2.0], [-2.0]]}
    found = DirectPreferenceOptimization(beta=1, label_smoothing=0.1).loss(batch([0, 0], [0, 1], **signals))
    assert value(found) == pytest.approx(-0.9 * log_sigmoid(2) - 0.1 * log_sigmoid(-2))


def test_dpo_starts_at_log_2():
    logps = torch.randn(6, 4).tolist()
    found = DirectPreferenceOptimization().loss(
        batch([0, 0, 0, 1, 1, 1], [0, 1, 2] * 2, mask=[[1] * 4] * 6, logps=logps, reference_logps=logps)
    )
    assert value(found) == pytest.approx(math.log(2), abs=1e-6)


def test_unlikelihood_by_hand():
    found = Unlikelihood(alpha=2).loss(batch([0, 0], [0, 1], logps=[[-1.0], [math.log(0.25)]]))
    assert value(found) == pytest.approx((1.0 - 2 * math.log(0.75)) / 2)


def test_unlikelihood_of_a_ranking_raises_the_best_and_lowers_the_rest():
    logps = torch.full((3, 1), -1.0, requires_grad=True)
    one = batch([0, 0, 0], [1, 0, 2]).with_(logps=logps)
    found = Unlikelihood().loss(one)
    found.terms.sum().backward()
    assert (logps.grad.squeeze() < 0).tolist() == [False, True, False]


@pytest.mark.parametrize("surprise", [0.0, 1e-30, 1e-7, SURPRISE_FLOOR, 1.0, 50.0])
def test_unlikelihood_and_its_slope_are_finite_and_push_down(surprise):
    logps = torch.tensor([-surprise], requires_grad=True)
    term = unlikelihood(logps)
    term.backward()
    assert term.isfinite().all()
    assert logps.grad.isfinite().all()
    assert (logps.grad >= 0).all()
    assert logps.grad.item() > 0 or surprise == 50.0


def test_unlikelihood_continues_smoothly_below_the_floor():
    below, above = (
        unlikelihood(torch.tensor([-SURPRISE_FLOOR * 0.999])),
        unlikelihood(torch.tensor([-SURPRISE_FLOOR * 1.001])),
    )
    assert (below - above).item() == pytest.approx(0.002, rel=0.05)


def test_the_weight_column_weighs_a_prompts_pairs():
    pairs = batch([0, 0, 1, 1], [0, 1, 0, 1], weight=[3.0, 3.0, 1.0, 1.0]).pairs()
    assert pairs.weight.tolist() == [3.0, 1.0]


def test_reading_an_undeclared_signal_names_the_missing_declaration():
    with pytest.raises(MissingSignal, match='"reference" in `reads`'):
        _ = batch([0]).reference_logps


def test_reading_an_unknown_column_lists_those_that_are_there():
    with pytest.raises(MissingSignal, match=r"no column 'margin'.*rank"):
        _ = batch([0, 0], [0, 1]).margin
