"""Batches of rollouts on disk."""

from dataclasses import replace

import pytest
import torch

from alignkit import Prompt, Rollouts, UserError
from alignkit.training.rollout_files import RolloutFiles, prepared_batch

MASK = torch.tensor([[True, True], [True, False], [True, True]])


def batch():
    rollouts = Rollouts(
        torch.tensor([[5, 1], [6, 0], [7, 1]]),
        MASK,
        torch.tensor([0, 2, 2]),
        {"finished": torch.tensor([1.0, 0.0, 1.0])},
        {"old_logps": -MASK.float(), "advantages": torch.tensor([0.5, -0.5, 1.0])},
        prompts=(Prompt([3], "three"), Prompt([4]), Prompt([3, 4], [{"role": "user", "content": "both"}])),
        sources=("policy", "data"),
    )
    return prepared_batch(rollouts, {"rollouts/reward": 0.25}, {"baseline": 2.0})


def test_completions_are_put_together_by_prompt_and_prompts_without_any_are_gone():
    found = batch()
    assert [(group.prompt, group.text, group.completions) for group in found.groups] == [
        ([3], "three", ([5, 1],)),
        ([3, 4], [{"role": "user", "content": "both"}], ([6], [7, 1])),
    ]
    assert [places.tolist() for places in found.members] == [[0], [1, 2]]


def test_a_batch_is_read_back_as_it_was_written(tmp_path):
    files, written = RolloutFiles(tmp_path), batch()
    assert files.read_batch(4) is None
    files.write_batch(4, written)
    found = files.read_batch(4)
    assert found is not None
    assert (found.groups, found.metrics, found.state) == (written.groups, written.metrics, written.state)
    assert found.rollouts.prompts == written.rollouts.prompts
    assert found.rollouts.sources == ("policy", "data")
    for name, value in {**written.rollouts.signals, **written.rollouts.columns}.items():
        assert torch.equal(getattr(found.rollouts, name), value)


def test_a_damaged_batch_is_refused(tmp_path):
    files = RolloutFiles(tmp_path)
    files.write_batch(0, batch())
    (tmp_path / "000000" / "state.json").write_text("{}")
    with pytest.raises(UserError, match="these rollouts are damaged"):
        files.read_batch(0)


def test_samples_are_lines_whatever_characters_their_text_has(tmp_path):
    files = RolloutFiles(tmp_path)
    assert files.read_samples(0) is None
    samples = [{"prompt": "a\u2028b", "completions": ["c\x85"]}, {"prompt": "d", "completions": []}]
    files.write_samples(0, samples)
    assert files.read_samples(0) == samples


def test_tensors_of_earlier_batches_go_and_their_samples_stay(tmp_path):
    files = RolloutFiles(tmp_path)
    for number in range(3):
        files.write_samples(number, [])
        files.write_batch(number, batch())
    files.forget_before(2)
    assert [files.read_batch(number) is None for number in range(3)] == [True, True, False]
    assert all(files.read_samples(number) == [] for number in range(3))


def test_a_tensor_may_have_several_names_and_a_part_of_one_may_have_its_own(tmp_path):
    written, whole = batch(), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    signals = {"rewards": whole[0], "advantages": whole[0], "returns": whole[1]}
    files = RolloutFiles(tmp_path)
    files.write_batch(0, replace(written, rollouts=replace(written.rollouts, signals=signals)))
    found = files.read_batch(0)
    assert found is not None
    kept = {name: value.tolist() for name, value in found.rollouts.signals.items()}
    assert kept == {"rewards": [1, 2, 3], "advantages": [1, 2, 3], "returns": [4, 5, 6]}
