"""REINFORCE against hand-derived numbers, plain loops, and the exact gradient of what it maximises."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from made_rollouts import Language, at_loss, made, moved, optimum, random_rollouts, sums, trained
from pydantic import ValidationError

from alignkit_reinforce import Reinforce

LANGUAGE = Language(vocabulary=3, longest=3)
BETA = 0.3


def tables(seed=0, language=LANGUAGE):
    """Logits of a policy and a reference, and a reward for each completion."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    shape = (len(language.prefixes), language.vocabulary)
    return normal(*shape).requires_grad_(), normal(*shape), normal(len(language.completions))


def expected_gradient(objective, size, **options):
    """E[∇ mean loss] over every ordered choice of `size` samples of one prompt, and −∇(E[r] − β·KL)."""
    logits, reference, rewards = tables()
    count = len(LANGUAGE.completions)
    index = torch.cartesian_prod(*[torch.arange(count)] * size).reshape(-1)
    prepared = objective.prepare(LANGUAGE.rollouts(logits, reference, rewards, index, size))
    loss = objective.loss(at_loss(prepared, logps=LANGUAGE.logps(logits)[index]))
    # of each choice
    probability = LANGUAGE.logps(logits).sum(-1).exp().detach()[index].reshape(-1, size).prod(-1)
    (found,) = torch.autograd.grad((probability.repeat_interleave(size) * loss.terms).sum() / size, logits)
    (exact,) = torch.autograd.grad(-LANGUAGE.value(logits, reference, rewards, BETA), logits)
    return found, exact


def test_leave_one_out_by_hand():
    rollouts = made(
        [[1], [1], [1]],
        [0, 0, 0],
        [1.0, 2.0, 6.0],
        reference_logps=[[0.0], [0.5], [0.0]],
        logps=[[0.0], [0.0], [1.0]],
    )
    prepared = Reinforce(kl_coef=2.0).prepare(rollouts)
    assert prepared.returns.tolist() == [1.0, 3.0, 4.0]  # 2 + 2·0.5 and 6 − 2·1
    assert prepared.advantages.tolist() == [1 - 3.5, 3 - 2.5, 4 - 2]


def test_token_returns_by_hand():
    rollouts = made(
        [[1, 1, 1], [1, 0, 0]],
        [0, 0],
        [1.0, 4.0],
        logps=[[-1.0, -2.0, -3.0], [-1.0, 0, 0]],
        reference_logps=[[-2.0, -2.0, -1.0], [-1.0, 0, 0]],
    )
    # The KL by token is 1, 0, −2; by half of it the rewards are −½, 0, 1 + 1, from each token on 1½, 2, 2;
    # the baselines 4 and 1½.
    prepared = Reinforce(kl_coef=0.5, level="token").prepare(rollouts)
    assert prepared.advantages.tolist() == [[-2.5, -2.0, -2.0], [2.5, 0.0, 0.0]]
    # Where the first token earns the reward of 1, the rewards are 1 − ½, 0, 1, from each token on 1½, 1, 1.
    early = rollouts.with_(token_rewards=torch.tensor([[1.0, 0, 0], [4, 0, 0]], dtype=torch.float64))
    prepared = Reinforce(kl_coef=0.5, level="token").prepare(early)
    assert prepared.advantages.tolist() == [[-2.5, -3.0, -3.0], [2.5, 0.0, 0.0]]


def test_token_loss_by_hand():
    rollouts = made([[1, 1], [1, 0]], [0, 0], [0.0, 0.0]).with_(
        advantages=torch.tensor([[1.0, 2.0], [-3.0, 0.0]]).double()
    )
    rollouts = rollouts.with_(
        kl=rollouts.rewards, returns=rollouts.rewards, penalized_scores=rollouts.rewards
    )
    found = Reinforce(level="token").loss(
        at_loss(rollouts, logps=torch.tensor([[-1.0, -0.5], [-2.0, 0.0]]).double())
    )
    assert found.terms.tolist() == [1 + 1, -6]


def test_a_cut_completion_loses_the_penalty():
    rollouts = made([[1], [1]], [0, 0], [1.0, 1.0], finished=[1.0, 0.0], reference_logps=[[0.0], [0.0]])
    prepared = Reinforce(missing_eos_penalty=0.75).prepare(rollouts)
    assert prepared.penalized_scores.tolist() == [1.0, 0.25]
    assert prepared.advantages.tolist() == [0.75, -0.75]


def test_a_completion_without_siblings_is_left_out():
    rollouts = made([[1]] * 3, [0, 1, 1], [9.0, 1.0, 2.0], reference_logps=[[0.0]] * 3)
    prepared = Reinforce(normalize_advantages=True).prepare(rollouts)
    assert prepared.rewards.tolist() == [1.0, 2.0]
    assert prepared.advantages.tolist() == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)])


def test_the_moving_average_starts_at_the_first_mean_and_follows():
    objective = Reinforce(baseline="moving-average", baseline_decay=0.75, kl_coef=0, samples_per_prompt=1)
    assert objective.prepare(made([[1], [1]], [0, 1], [1.0, 3.0])).advantages.tolist() == [-1.0, 1.0]
    assert objective.state == {"baseline": 2.0}
    assert objective.prepare(made([[1], [1]], [0, 1], [6.0, 6.0])).advantages.tolist() == [4.0, 4.0]
    assert objective.state == {"baseline": 0.75 * 2 + 0.25 * 6}


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("seed", range(5))
def test_advantages_equal_plain_loops(estimator, level, seed):
    rollouts = random_rollouts(seed)
    prepared = Reinforce(kl_coef=0.4, kl_estimator=estimator, level=level, missing_eos_penalty=0.5).prepare(
        rollouts
    )
    lengths = rollouts.mask.sum(-1).tolist()
    rewards, returns = [], []
    for n, length in enumerate(lengths):
        row = []
        for t in range(length):
            log_ratio = float(rollouts.reference_logps[n, t] - rollouts.logps[n, t])
            kl = {"k1": -log_ratio, "k2": log_ratio**2 / 2, "k3": math.exp(log_ratio) - 1 - log_ratio}[
                estimator
            ]
            row.append(-0.4 * kl)
        row[-1] += float(rollouts.rewards[n]) - (0.0 if rollouts.finished[n] else 0.5)
        rewards.append(row)
        returns.append(sum(row))
    for n, length in enumerate(lengths):
        others = [
            returns[m] for m in range(len(lengths)) if rollouts.group[m] == rollouts.group[n] and m != n
        ]
        baseline = sum(others) / len(others)
        if level == "sequence":
            assert float(prepared.advantages[n]) == pytest.approx(returns[n] - baseline, abs=1e-9)
        else:
            expected = [sum(rewards[n][t:]) - baseline for t in range(length)] + [0.0] * (
                len(prepared.mask[n]) - length
            )
            assert prepared.advantages[n].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_k1_and_k3_have_the_divergence_as_mean_and_k2_half_the_squared_log_ratio(seed):
    logits, reference, rewards = tables(seed, language := Language(vocabulary=7, longest=1))
    rollouts = language.rollouts(logits, reference, rewards, torch.arange(7))
    p, q = logits[0].softmax(-1).detach(), reference[0].softmax(-1)
    mean = {
        name: float((p * rollouts.token_kl(name)[:, 0][language.tokens[:, 0].argsort()]).sum())
        for name in ("k1", "k2", "k3")
    }
    divergence = float(
        torch.distributions.kl_divergence(
            torch.distributions.Categorical(p), torch.distributions.Categorical(q)
        )
    )
    assert mean["k1"] == pytest.approx(divergence, abs=1e-12)
    assert mean["k3"] == pytest.approx(divergence, abs=1e-12)
    assert mean["k2"] == pytest.approx(
        sum(a * math.log(a / b) ** 2 for a, b in zip(p.tolist(), q.tolist(), strict=True)) / 2, abs=1e-12
    )
    assert (rollouts.token_kl("k3") >= 0).all()


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize(("baseline", "size"), [("none", 1), ("leave-one-out", 2)])
def test_the_expected_gradient_is_that_of_reward_less_divergence(level, clip, baseline, size):
    found, exact = expected_gradient(Reinforce(kl_coef=BETA, level=level, clip=clip, baseline=baseline), size)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_k2_and_k3_in_the_reward_bias_the_gradient(estimator):
    found, exact = expected_gradient(Reinforce(kl_coef=BETA, kl_estimator=estimator, baseline="none"), 1)
    assert (found - exact).norm() > 0.1 * exact.norm()


@pytest.mark.parametrize("level", ["sequence", "token"])
def test_the_clipped_loss_and_the_plain_one_have_one_gradient_at_the_start(level):
    rollouts = random_rollouts(1)
    gradients = []
    for clip in (None, 0.2):
        prepared = Reinforce(level=level, clip=clip).prepare(rollouts)
        logps = prepared.logps.clone().requires_grad_()
        loss = Reinforce(level=level, clip=clip).loss(at_loss(prepared, logps=logps))
        gradients.append(torch.autograd.grad(sums(loss)[0], logps)[0])
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", ["sequence", "token"])
@pytest.mark.parametrize("seed", range(5))
def test_the_clipped_loss_equals_plain_loops(level, seed):
    objective = Reinforce(level=level, clip=0.1, epochs=2)
    prepared = objective.prepare(random_rollouts(seed))
    current = moved(prepared, seed)
    loss = objective.loss(at_loss(prepared, **current))
    difference = (current["logps"] - prepared.logps).tolist()
    for n, length in enumerate(prepared.mask.sum(-1).tolist()):
        if level == "sequence":
            items = [(sum(difference[n]), float(prepared.advantages[n]))]
        else:
            items = list(zip(difference[n][:length], prepared.advantages[n].tolist()[:length], strict=True))
        pairs = [(math.exp(d) * a, min(max(math.exp(d), 0.9), 1.1) * a) for d, a in items]
        assert loss.terms[n].item() == pytest.approx(-sum(min(pair) for pair in pairs), abs=1e-9)
        assert float(loss.metrics["policy/clipfrac_avg"][n]) == pytest.approx(
            sum(b < a for a, b in pairs) / len(pairs)
        )


def test_the_clipped_sequence_loss_is_that_of_trl():
    from trl import RLOOTrainer

    objective = Reinforce(clip=0.2, epochs=2)
    prepared = objective.prepare(random_rollouts(3))
    logps = moved(prepared, by=0.1)["logps"]
    ours = sums(objective.loss(at_loss(prepared, logps=logps)))
    stub = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logps, -logps.detach(), None),
        accelerator=SimpleNamespace(reduce=lambda tensor, reduction: tensor, gather=lambda tensor: tensor),
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
        aux_loss_enabled=False,
        epsilon_low=0.2,
        epsilon_high=0.2,
    )
    mask = prepared.mask.long()
    theirs = {
        "prompt_ids": mask,
        "prompt_mask": mask,
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": prepared.advantages,
    }
    loss = RLOOTrainer._compute_loss(stub, None, {**theirs, "old_logps": prepared.logps.sum(-1)})
    torch.testing.assert_close(ours[0] / ours[1], loss, rtol=0, atol=1e-12)
    clipped = objective.loss(at_loss(prepared, logps=logps)).metrics["policy/clipfrac_avg"].mean()
    assert 0 < float(clipped) == pytest.approx(stub._metrics["train"]["clip_ratio/region_mean"][0])


def test_the_metrics_add_up():
    objective = Reinforce(missing_eos_penalty=1.0)
    prepared = objective.prepare(random_rollouts(2))
    metrics = objective.loss(at_loss(prepared, **moved(prepared))).metrics
    kl = ((prepared.logps - prepared.reference_logps) * prepared.mask).sum(-1)
    torch.testing.assert_close(metrics["objective/kl"], kl)
    torch.testing.assert_close(metrics["objective/non_score_reward"], -0.05 * kl)
    torch.testing.assert_close(metrics["objective/scores"], prepared.rewards - (1 - prepared.finished))
    torch.testing.assert_close(metrics["objective/rlhf_reward"], metrics["objective/scores"] - 0.05 * kl)


@pytest.mark.parametrize(
    "options", [{}, {"level": "token"}, {"clip": 0.2, "epochs": 2}, {"baseline": "moving-average"}]
)
def test_training_reaches_the_closed_form_optimum(options):
    language = Language(vocabulary=6, longest=1)
    _, reference, rewards = tables(4, language)
    objective = Reinforce(kl_coef=0.5, **options)
    found = trained(objective, language, reference, rewards, steps=250, rate=0.1)
    wanted = optimum(language, reference, rewards, 0.5)
    assert 0.5 * (language.logps(reference).sum(-1).exp() - wanted).abs().sum() > 0.2
    assert 0.5 * (found - wanted).abs().sum() <= 0.01


def test_training_reaches_the_optimum_over_completions_of_several_tokens():
    _, reference, rewards = tables(5)
    found = trained(Reinforce(kl_coef=0.5), LANGUAGE, reference, rewards, steps=400, rate=0.1)
    assert 0.5 * (found - optimum(LANGUAGE, reference, rewards, 0.5)).abs().sum() <= 0.01


def test_without_a_penalty_no_reference_is_read():
    assert Reinforce().reads == {"reference"}
    assert Reinforce(kl_coef=0).reads == set()
    rollouts = made([[1], [1]], [0, 0], [1.0, 2.0])
    objective = Reinforce(kl_coef=0)
    prepared = objective.prepare(rollouts)
    assert "objective/kl" not in objective.loss(at_loss(prepared, logps=prepared.logps)).metrics


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples_per_prompt": 1}, "leave-one-out.*2 or more"),
        ({"epochs": 2}, "set clip"),
        ({"minibatches": 3}, "set clip"),
        ({"kl_coef": -1}, "kl_coef"),
    ],
)
def test_options_that_cannot_work_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        Reinforce(**options)
