"""Hidden states of both layouts are those of a plain forward pass."""

import pytest
import torch
from tiny_models import random_groups, tiny_base

from alignkit.data.rows import flat_rows, tree_rows
from alignkit.models.forward import autocast, hidden_states


@torch.no_grad()
@pytest.mark.parametrize("layout", [tree_rows, flat_rows])
def test_hidden_states_that_predict_a_token_are_those_of_its_prompt_and_completion_alone(layout, rng):
    groups, model = random_groups(rng), tiny_base().model
    rows = layout(groups)
    found = hidden_states(model, rows)
    assert found.shape == (rows.input_ids.numel(), model.config.hidden_size)
    expected = [
        model.base_model(torch.tensor([group.prompt + completion])).last_hidden_state[
            0, len(group.prompt) - 1 : -1
        ]
        for group in groups
        for completion in group.completions
    ]
    torch.testing.assert_close(found[rows.predicting], torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_only_a_base_in_half_precision_computes_under_autocast():
    product = lambda: torch.ones(2, 2) @ torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(torch.device("cpu"), dtype):
            assert product().dtype == dtype
