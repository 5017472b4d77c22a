"""PPO against hand-derived numbers, plain loops, and the exact gradient of what it maximises."""

import math

import pytest
import torch
from made_rollouts import (
    Language,
    at_loss,
    made,
    mean,
    moved,
    optimum,
    padded,
    random_rollouts,
    sums,
    trained,
)
from pydantic import ValidationError

from alignkit_ppo import ProximalPolicyOptimization, gae

LANGUAGE = Language(vocabulary=3, longest=3)


def plain_advantages(rewards, values, gamma, lam):
    """Σ_l (γλ)^l·δ_(t+l), by its definition."""
    after = [*values, 0.0]
    deltas = [r + gamma * after[t + 1] - after[t] for t, r in enumerate(rewards)]
    return [sum((gamma * lam) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(deltas))]


def test_gae_by_hand():
    rewards, values = torch.tensor([[1.0, 2.0, 7.0]]), torch.tensor([[0.5, 1.0, 9.0]])
    # Two tokens: δ = (1 + ½·1 − ½, 2 − 1) = (1, 1), and A = (1 + ½·½·1, 1).
    assert gae(rewards, values, torch.tensor([[True, True, False]]), 0.5, 0.5).tolist() == [[1.25, 1.0, 0.0]]


@pytest.mark.parametrize("seed", range(5))
def test_gae_equals_its_sum_on_ragged_masks(seed):
    rollouts = random_rollouts(seed)
    rewards = torch.randn(rollouts.mask.shape, generator=torch.Generator().manual_seed(seed)).double()
    found = gae(rewards, rollouts.values, rollouts.mask, 0.9, 0.8)
    for n, length in enumerate(rollouts.mask.sum(-1).tolist()):
        expected = plain_advantages(
            rewards[n, :length].tolist(), rollouts.values[n, :length].tolist(), 0.9, 0.8
        )
        assert found[n].tolist() == pytest.approx([*expected, *[0.0] * (found.shape[1] - length)], abs=1e-9)


def test_gae_steps_over_tokens_that_the_policy_did_not_write():
    rewards, values = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[0.5, 8.0, 1.0]])
    found = gae(rewards, values, torch.tensor([[True, False, True]]), 0.5, 0.5)
    assert found.tolist() == [[1.25, 0.0, 1.0]]


def test_with_lambda_1_the_returns_are_the_rewards_to_come():
    rollouts = random_rollouts(0)
    prepared = ProximalPolicyOptimization(lam=1.0, kl_coef=0.3).prepare(rollouts)
    kl = (rollouts.logps - rollouts.reference_logps) * rollouts.mask
    to_come = (-0.3 * kl).flip(-1).cumsum(-1).flip(-1) + rollouts.rewards[:, None]
    torch.testing.assert_close(prepared.returns, to_come * rollouts.mask)


def test_rewards_of_tokens_enter_the_advantages_where_they_were_earned():
    options = {"gamma": 1.0, "lam": 0.5, "whiten_advantages": False}
    given = {"logps": [[-1.0, -2.0]], "reference_logps": [[-1.2, -1.6]], "values": [[0.5, 0.25]]}
    rollouts = made([[1, 1]], [0], [3.0], token_rewards=[[1.0, 2.0]], **given)

    prepared = ProximalPolicyOptimization(kl_coef=0, **options).prepare(rollouts)
    # δ_1 = 2 − 0.25 = 1.75 = A_1; δ_0 = 1 + 0.25 − 0.5 = 0.75, and A_0 = 0.75 + ½·1.75 = 1.625
    assert prepared.advantages.tolist() == [[1.625, 1.75]]
    # the returns are A + V: (1.625 + 0.5, 1.75 + 0.25)
    assert prepared.returns.tolist() == [[2.125, 2.0]]

    # The same 3 earned at the end: δ_1 = 2.75 = A_1, δ_0 = 0.25 − 0.5, and A_0 = −0.25 + ½·2.75 = 1.125.
    whole = made([[1, 1]], [0], [3.0], **given)
    prepared = ProximalPolicyOptimization(kl_coef=0, **options).prepare(whole)
    assert prepared.advantages.tolist() == [[1.125, 2.75]]

    # With β = ½, KL_t = log π − log π_ref = (0.2, −0.4), and 1 for a missing end at the last token, the
    # rewards are (1 − 0.1, 2 + 0.2 − 1): δ_1 = 1.2 − 0.25, δ_0 = 0.9 + 0.25 − 0.5, A_0 = 0.65 + ½·0.95.
    objective = ProximalPolicyOptimization(kl_coef=0.5, missing_eos_penalty=1.0, **options)
    prepared = objective.prepare(rollouts.with_(finished=torch.zeros(1, dtype=torch.float64)))
    assert prepared.advantages.flatten().tolist() == pytest.approx([1.125, 0.95])
    # what is reported is the whole reward, with its penalty, and the divergence: 3 − 1, and 0.2 − 0.4
    assert prepared.penalized_scores.tolist() == [2.0]
    assert prepared.kl.tolist() == pytest.approx([-0.2])


@pytest.mark.parametrize("columns", [0, 1, 5])
def test_the_score_lies_on_the_last_written_token(columns):
    rollouts = padded(made([[1, 1, 0], [1, 1, 1], [1, 0, 0]], [0, 1, 2], [1.0, 2.0, 3.0]), columns)
    expected = [[0, 1, 0], [0, 0, 2], [3, 0, 0]]
    assert rollouts.at_end(rollouts.rewards).tolist() == [
        [*map(float, row), *[0.0] * columns] for row in expected
    ]


@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k3"])
@pytest.mark.parametrize("seed", range(3))
def test_advantages_and_returns_equal_plain_loops(seed, estimator, whiten_rewards):
    rollouts = random_rollouts(seed)
    objective = ProximalPolicyOptimization(
        kl_coef=0.4, kl_estimator=estimator, missing_eos_penalty=0.5, gamma=0.9, whiten_rewards=whiten_rewards
    )
    prepared = objective.prepare(rollouts)
    rewards = []
    for n, length in enumerate(rollouts.mask.sum(-1).tolist()):
        ratios = [float(rollouts.reference_logps[n, t] - rollouts.logps[n, t]) for t in range(length)]
        row = [0.4 * r if estimator == "k1" else -0.4 * (math.exp(r) - 1 - r) for r in ratios]
        row[-1] += float(rollouts.rewards[n]) - (0.0 if rollouts.finished[n] else 0.5)
        rewards.append(row)
    if whiten_rewards:
        flat = torch.tensor([r for row in rewards for r in row])
        rewards = [
            [(r - float(flat.mean())) / float(flat.std()) + float(flat.mean()) for r in row]
            for row in rewards
        ]
    advantages = [
        plain_advantages(row, rollouts.values[n, : len(row)].tolist(), 0.9, 0.95)
        for n, row in enumerate(rewards)
    ]
    flat = torch.tensor([a for row in advantages for a in row], dtype=torch.float64)
    for n, row in enumerate(advantages):
        whitened = [(a - float(flat.mean())) / float(flat.std()) for a in row]
        returns = [a + float(rollouts.values[n, t]) for t, a in enumerate(row)]
        assert prepared.advantages[n, : len(row)].tolist() == pytest.approx(whitened, abs=1e-6)
        assert prepared.returns[n, : len(row)].tolist() == pytest.approx(returns, abs=1e-6)


@pytest.mark.parametrize("shift", [True, False])
def test_whitened_tokens_have_variance_1(shift):
    rollouts = random_rollouts(3)
    values = 5 + 3 * rollouts.values
    found = rollouts.whitened(values, shift=shift)
    assert float(found[rollouts.mask].std()) == pytest.approx(1)
    assert float(found[rollouts.mask].mean()) == pytest.approx(
        0.0 if shift else float(values[rollouts.mask].mean()), abs=1e-9
    )
    assert (found[~rollouts.mask] == 0).all()


def test_whitening_by_hand():
    rollouts = made([[1, 1], [1, 0]], [0, 1], [0.0, 0.0])
    # 1, 2, 6: mean 3, variance (4 + 1 + 9)/2 = 7.
    found = rollouts.whitened(torch.tensor([[1.0, 2.0], [6.0, 50.0]]).double())
    assert found.flatten().tolist() == pytest.approx(
        [-2 / math.sqrt(7), -1 / math.sqrt(7), 3 / math.sqrt(7), 0.0]
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_first_pass_clips_nothing_and_moves_nothing(seed):
    objective = ProximalPolicyOptimization()
    prepared = objective.prepare(random_rollouts(seed))
    loss = objective.loss(at_loss(prepared, logps=prepared.logps, values=prepared.values))
    mask = prepared.mask
    assert (loss.metrics["val/ratio"][mask] == 1).all()
    for name in ("policy/approxkl_avg", "policy/clipfrac_avg", "val/clipfrac_avg"):
        assert (loss.metrics[name] == 0).all(), name
    # whitened advantages have mean 0
    assert float((loss.metrics["loss/policy_avg"] * mask).sum()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_equals_plain_loops(seed):
    objective = ProximalPolicyOptimization(
        cliprange=0.1, cliprange_value=0.15, vf_coef=0.7, entropy_coef=0.01
    )
    prepared = objective.prepare(random_rollouts(seed))
    current = moved(prepared, seed)
    entropy = (
        torch.rand(prepared.mask.shape, generator=torch.Generator().manual_seed(seed)).double()
        * prepared.mask
    )
    loss = objective.loss(at_loss(prepared, entropy=entropy, **current))
    clipped = value_clipped = 0
    for n, t in prepared.mask.nonzero().tolist():
        at = lambda tensor, n=n, t=t: tensor[n, t].item()
        ratio = math.exp(at(current["logps"]) - at(prepared.logps))
        policy = -min(ratio * at(prepared.advantages), min(max(ratio, 0.9), 1.1) * at(prepared.advantages))
        value, old, wanted = at(current["values"]), at(prepared.values), at(prepared.returns)
        near = min(max(value, old - 0.15), old + 0.15)
        errors = ((value - wanted) ** 2, (near - wanted) ** 2)
        assert at(loss.terms) == pytest.approx(
            policy + 0.7 * 0.5 * max(errors) - 0.01 * at(entropy), abs=1e-9
        )
        clipped += policy > -ratio * at(prepared.advantages)
        value_clipped += errors[1] > errors[0]
    assert float(loss.metrics["policy/clipfrac_avg"].sum()) == clipped > 0
    assert float((loss.metrics["val/clipfrac_avg"] * prepared.mask).sum()) == value_clipped > 0
    assert torch.equal(loss.weight, prepared.mask.double())


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_gradient_stops_where_clipping_gains(advantage, ratio):
    prepared = ProximalPolicyOptimization(vf_coef=0, whiten_advantages=False).prepare(
        made([[1]], [0], [advantage], values=[[0.0]], reference_logps=[[0.0]])
    )
    logps = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    mean(
        ProximalPolicyOptimization(vf_coef=0).loss(at_loss(prepared, logps=logps, values=prepared.values))
    ).backward()
    gained = (ratio > 1.2 and advantage > 0) or (ratio < 0.8 and advantage < 0)
    assert logps.grad.item() == pytest.approx(0.0 if gained else -advantage * ratio)


@pytest.mark.parametrize("values", ["zero", "random"])
def test_the_expected_first_gradient_is_that_of_reward_less_divergence(values):
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    logits, reference, rewards = (
        normal(7, 3).requires_grad_(),
        normal(7, 3),
        normal(len(LANGUAGE.completions)),
    )
    table = normal(7) if values == "random" else torch.zeros(7).double()
    objective = ProximalPolicyOptimization(kl_coef=0.3, lam=1.0, vf_coef=0, whiten_advantages=False)
    rollouts = LANGUAGE.rollouts(logits, reference, rewards, torch.arange(len(rewards)))
    prepared = objective.prepare(rollouts.with_(values=table[LANGUAGE.states] * LANGUAGE.mask))
    loss = objective.loss(at_loss(prepared, logps=LANGUAGE.logps(logits)))
    probability = rollouts.logps.sum(-1, keepdim=True).exp()
    (found,) = torch.autograd.grad((probability * loss.weight * loss.terms).sum(), logits)
    (exact,) = torch.autograd.grad(-LANGUAGE.value(logits, reference, rewards, 0.3), logits)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kl", "horizon", "exponent"),
    [
        (6.0, 100, 0),
        (6.6, 100, 0.1 * 4 / 100),
        (60.0, 100, 0.2 * 4 / 100),
        (0.0, 100, -0.2 * 4 / 100),
        (5.4, 100, -0.004),
        (0.0, 0.5, -1.6),
    ],
)
def test_the_coefficient_follows_the_target_and_stays_positive(kl, horizon, exponent):
    factor = math.exp(exponent)
    objective = ProximalPolicyOptimization(kl_coef=0.1, kl_target=6.0, kl_horizon=horizon)
    rollouts = made(
        [[1, 1]] * 4,
        [0, 1, 2, 3],
        [0.0] * 4,
        logps=[[kl, 0.0]] * 4,
        reference_logps=[[0.0, 0.0]] * 4,
        values=[[0.0, 0.0]] * 4,
    )
    # the coefficient moves after the batch that it was used for
    assert objective.prepare(rollouts).kl_coef.tolist() == [0.1] * 4
    assert objective.state["kl_coef"] == pytest.approx(0.1 * factor)
    assert objective.prepare(rollouts).kl_coef.tolist() == pytest.approx([0.1 * factor] * 4)


def test_without_a_target_the_coefficient_stays():
    objective = ProximalPolicyOptimization()
    objective.prepare(random_rollouts(0))
    assert objective.state == {}


def test_the_metrics_add_up():
    objective = ProximalPolicyOptimization(missing_eos_penalty=1.0)
    prepared = objective.prepare(random_rollouts(2))
    averages = objective.loss(at_loss(prepared, **moved(prepared))).averages()
    metrics = {name: average.values for name, average in averages.items()}
    kl = ((prepared.logps - prepared.reference_logps) * prepared.mask).sum(-1)
    torch.testing.assert_close(metrics["objective/kl"], kl)
    torch.testing.assert_close(metrics["objective/non_score_reward"], -0.05 * kl)
    torch.testing.assert_close(
        metrics["objective/rlhf_reward"], prepared.rewards - (1 - prepared.finished) - 0.05 * kl
    )
    torch.testing.assert_close(metrics["objective/entropy"], -(prepared.logps * prepared.mask).sum(-1))


@pytest.mark.parametrize("whiten_advantages", [False, True])
@pytest.mark.parametrize(("vocabulary", "longest"), [(6, 1), (3, 2)])
def test_training_reaches_the_closed_form_optimum(vocabulary, longest, whiten_advantages):
    language = Language(vocabulary, longest)
    generator = torch.Generator().manual_seed(5)
    reference = torch.randn(len(language.prefixes), vocabulary, generator=generator, dtype=torch.float64)
    rewards = torch.randn(len(language.completions), generator=generator, dtype=torch.float64)
    objective = ProximalPolicyOptimization(
        kl_coef=0.5,
        whiten_advantages=whiten_advantages,
        samples_per_prompt=4,
        vf_coef=1.0,
        cliprange_value=10.0,
    )
    found = trained(objective, language, reference, rewards, steps=200, rate=0.05)
    wanted = optimum(language, reference, rewards, 0.5)
    assert 0.5 * (language.logps(reference).sum(-1).exp() - wanted).abs().sum() > 0.2
    assert 0.5 * (found - wanted).abs().sum() <= 0.01


def test_roles_follow_the_options():
    assert ProximalPolicyOptimization().reads == {"reference"}
    assert ProximalPolicyOptimization(kl_coef=0).reads == set()
    assert not ProximalPolicyOptimization().entropy
    assert ProximalPolicyOptimization(entropy_coef=0.01).entropy
    objective = ProximalPolicyOptimization(kl_coef=0)
    prepared = objective.prepare(made([[1]], [0], [1.0], values=[[0.0]]))
    assert (
        "objective/kl"
        not in objective.loss(at_loss(prepared, logps=prepared.logps, values=prepared.values)).metrics
    )
    assert sums(objective.loss(at_loss(prepared, logps=prepared.logps, values=prepared.values)))[1] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"kl_target": 6, "kl_coef": 0}, "would stay 0"), ({"epochs": 0}, "epochs"), ({"lam": 1.1}, "lam")],
)
def test_options_that_cannot_work_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        ProximalPolicyOptimization(**options)
