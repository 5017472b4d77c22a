"""What quantization costs, against plain calls of transformers on both bases."""

import random
import re

import pytest
import torch
from tiny_bases import load_tiny, save_base, word_groups
from tiny_models import plain_logps
from transformers import AutoModelForCausalLM

from alignkit import recipe
from alignkit.data.chosen import choose_completions
from alignkit.evaluation import quantization_cost
from alignkit.evaluation.quantization_cost import QuantizationCost, measure_cost
from alignkit.models.base import quantization_config
from alignkit.registry import Registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"), "llama")


@pytest.fixture(scope="module")
def chosen():
    rng = random.Random(0)
    return choose_completions([group for _ in range(6) for group in word_groups(rng)])


def settings(folder, **model):
    return recipe.Model.model_validate({"base": str(folder), "dtype": "float32", **model})


@pytest.mark.parametrize("model", [{"quantization": "fp4"}, {"quantization": "nf4", "block_size": 32}])
def test_the_cost_is_the_difference_of_plain_losses_and_leaves_random_states_alone(folder, chosen, model):
    spec = settings(folder, **model)
    base = load_tiny(folder, **model)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = measure_cost(base, spec, Registry(), chosen)
    assert torch.equal(torch.get_rng_state(), state)

    options = {"dtype": torch.float32, "device_map": {"": "cpu"}}
    losses = []
    for config in (quantization_config(spec, torch.float32), None):
        plain = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, **options)
        losses.append(-plain_logps(plain.train(), list(chosen.groups)).mean().item())
    assert found.loss == pytest.approx(losses[0], abs=1e-4)
    assert found.unquantized == pytest.approx(losses[1], abs=1e-4)
    assert found.cost == pytest.approx(losses[0] - losses[1], abs=2e-4)
    assert found.low < found.cost < found.high  # type: ignore[operator]
    assert (found.completions, found.tokens) == (len(chosen.groups), sum(chosen.tokens))


def test_without_room_for_the_unquantized_base_nothing_is_measured_and_the_reason_told(
    folder, chosen, monkeypatch
):
    spec = settings(folder, quantization="nf4")
    base = load_tiny(folder, quantization="nf4")
    monkeypatch.setattr(quantization_cost, "bytes_free", lambda device: 60_000)
    found = measure_cost(base, spec, Registry(), chosen)
    assert found.cost is None
    # 19,680 numbers of 4 bytes, and a quarter more
    assert found.line.startswith("what nf4 costs was not measured: the unquantized base needs 0.0")
    assert found.to_dict() | {"cost": None, "why": found.why} == found.to_dict()


def cost(value, **more):
    numbers = {
        "loss": 2 + value,
        "unquantized": 2.0,
        "cost": value,
        "low": value - 0.01,
        "high": value + 0.01,
    }
    about = {"quantization": "nf4", "block_size": 64, "dtype": "float32", "completions": 32, "tokens": 900}
    return QuantizationCost(**{**about, "of": "completions", **numbers, **more})


def test_one_line_tells_the_cost():
    assert cost(0.04).line == "nf4 costs 0.04 nats per token here (2.00 → 2.04, 32 completions, 0.03…0.05)"
    assert "in blocks of 32 costs" in cost(0.04, block_size=32).line
    assert "32 prompts" in cost(0.04, of="prompts").line
    assert "why" not in cost(0.04).to_dict()


@pytest.mark.parametrize(
    ("about", "advice"),
    [
        ({}, "`model.quantization: int8 or none` .*block_size: 32"),
        ({"block_size": 32}, "`model.quantization: int8 or none` costs less where memory allows$"),
        ({"quantization": "fp4"}, "`model.quantization: nf4, int8 or none` costs less where memory allows$"),
        ({"quantization": "int8"}, "`model.quantization: none` costs less where memory allows$"),
    ],
)
def test_a_cost_above_a_twentieth_is_a_warning_with_advice(about, advice):
    line = cost(0.41, **about).line
    assert line.startswith("warning: ")
    assert re.search(advice, line)
    assert not cost(0.05).line.startswith("warning")
