"""The line of a task's numbers."""

from alignkit import Metric
from alignkit.display.numbers import Numbers
from alignkit.training.metrics import metrics_of
from alignkit_dpo import DirectPreferenceOptimization
from alignkit_ppo import ProximalPolicyOptimization

SPEED = {"tokens_per_second": 1234.5, "memory_gb": 1.25}


def test_the_reward_is_shown_at_every_step_though_it_is_measured_once_in_four():
    numbers = Numbers(metrics_of([ProximalPolicyOptimization()], ["judge"]))
    lines = []
    for step in range(8):
        values = {"loss": 1.0 - step / 10, "rollouts/length": 9.0} | SPEED
        if step % 4 == 0:
            values |= {"rollouts/reward": float(step), "rewards/judge": step / 2}
        numbers.add(values)
        lines.append(numbers.line(values))
    assert lines[3] == "rollouts/reward 0  loss 0.7  rewards/judge 0  1234 tokens/s  1.2 GB"
    assert lines[7] == "rollouts/reward 4  loss 0.3  rewards/judge 2  1234 tokens/s  1.2 GB"


def test_the_trend_counts_each_measurement_once():
    numbers = Numbers(metrics_of([ProximalPolicyOptimization()], ["judge"]))
    for step in range(64):
        numbers.add({"loss": 1.0} | ({"rollouts/reward": float(step)} if step % 4 == 0 else {}))
    # 16 measurements: 0, 4, 8, 12 at first and 48, 52, 56, 60 lately
    assert numbers.line({}).startswith("rollouts/reward 60 ↑ (6 at first, 54 lately)")


def test_held_out_numbers_stand_beside_the_first_metric_and_stay():
    numbers = Numbers(metrics_of([DirectPreferenceOptimization()], []))
    values = {"loss": 0.5, "rewards/accuracies": 0.75, "rewards/margins": 1.0, "logps/chosen": -9.0}
    measured = values | {"held_out/loss": 0.625, "held_out/rewards/accuracies": 0.5}
    numbers.add(measured)
    assert numbers.line(measured) == "rewards/accuracies 0.75, held out 0.5  held_out/loss 0.625"
    numbers.add(values)
    assert numbers.line(values) == "rewards/accuracies 0.75, held out 0.5  loss 0.5  rewards/margins 1"


def test_what_is_no_number_is_passed_over():
    numbers = Numbers({"loss": Metric("loss")})
    numbers.add({"loss": 1.0, "note": "x"})  # type: ignore[dict-item]
    assert numbers.line({}) == "loss 1"
