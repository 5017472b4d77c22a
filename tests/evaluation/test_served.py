"""Models as they are served: how far they are from what was trained, and an evaluation that measures them."""

import json

import pytest
import torch
from peft import PeftModel
from tiny_models import plain_logps
from tiny_runs import run, write_recipe
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from alignkit import recipe
from alignkit.data.chosen import Chosen
from alignkit.evaluation.served import Shift, measure_shift
from alignkit.evaluation.statistics import Interval
from alignkit.models.base import quantization_config
from alignkit.models.export import export_merged

STAGES = """  policy: {train: sft, on: pairs, steps: 4}
  judge: {train: bradley-terry, on: pairs, steps: 4}
  online: {train: reinforce, on: pairs, start: policy, reward: length, steps: 2, sampling: {max_tokens: 3}}
  told: {evaluate: [base, policy], on: pairs, by: [judge, kl], max_tokens: 3, as: merged}
  same: {evaluate: [base, policy], on: pairs, by: [judge, kl], max_tokens: 3}
  judged: {evaluate: judge, on: pairs, as: merged}
"""


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    changes = ["model.quantization=fp4", "training.batch_size=8", "model.lora={r: 4}"]
    recipe_ = write_recipe(folder, base, STAGES, *changes)
    return folder / "tiny", run(recipe_, folder)


@pytest.fixture(scope="module")
def quantized(base):
    """The base as plain transformers quantizes it."""
    config = quantization_config(recipe.Model(quantization="fp4"), torch.float32)
    return lambda: AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=config, device_map={"": "cpu"}
    ).train()


def kept(stage):
    return Chosen.from_dict(json.loads((stage / "measured.json").read_text()))


def test_the_shift_is_that_of_plain_calls_of_both_models(made, quantized, tmp_path):
    stage = made[0] / "policy"
    export_merged(stage, tmp_path / "merged", "float32")
    shift = measure_shift(stage, tmp_path / "merged", torch.float32)
    chosen = kept(stage)
    count = len(chosen.groups)
    assert 2 <= count < 20, "a share of the 40 pairs is held out"
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    trained = PeftModel.from_pretrained(quantized(), str(stage / "adapter")).train()
    with torch.no_grad():
        change = plain_logps(merged, list(chosen.groups)) - plain_logps(trained, list(chosen.groups))
    assert shift is not None
    assert shift.size == pytest.approx(change.abs().mean().item(), abs=1e-4)
    assert shift.change.mean == pytest.approx(change.sum().item() / count, abs=1e-3)
    assert shift.size > 0.05
    assert shift.line.endswith("`evaluate` with `as: merged` measures this model")


def test_the_scores_of_a_reward_model_are_compared(alignkit, made, tmp_path):
    out, _ = alignkit("export", made[0] / "judge", "--to", tmp_path / "merged", "--merged")
    written, told = out.splitlines()
    assert written == f"Written: {tmp_path / 'merged'}"
    assert told.startswith("merged, its scores differ by ")
    assert told.endswith(f": {len(kept(made[0] / 'judge').groups)} completions")


def test_an_online_stage_keeps_its_newest_samples(made):
    stage = made[0] / "online"
    samples = [json.loads(line) for line in (stage / "rollouts/reinforce/000001.jsonl").open()]
    drawn = [tokens for record in samples for tokens in record["tokens"]]
    found = kept(stage)
    assert len(found.groups) == len(samples) == 8
    assert all(group.completions[0] in drawn for group in found.groups)


def test_an_evaluation_of_merged_models_says_so_and_leaves_none_of_them(made):
    folder, said = made
    table = {name: json.loads((folder / name / "evaluation.json").read_text()) for name in ("told", "same")}
    assert (table["told"]["as"], table["same"]["as"]) == ("merged", "trained")
    assert "the targets are measured as they are served: merged, in bfloat16" in said
    assert not (folder / "told" / "merged").exists()
    assert table["told"]["targets"]["base"]["kl"]["mean"] == 0
    assert table["told"]["targets"]["policy"]["win_rate/judge"]["mean"] is not None
    assert table["told"]["targets"]["policy"]["kl"] != table["same"]["targets"]["policy"]["kl"]


def test_the_kl_of_merged_models_is_that_of_plain_calls(made, base, tmp_path):
    folder, _ = made
    export_merged(folder / "policy", tmp_path / "merged")
    record = json.loads((folder / "told" / "targets" / "1.json").read_text())
    lines = [json.loads(line) for line in (folder / "told" / "samples.jsonl").open()]
    assert [line["completions"]["policy"] for line in lines] == record["texts"]
    policy, reference = (
        AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16)
        for place in (tmp_path / "merged", base)
    )
    ratios = []
    from transformers import AutoTokenizer

    from alignkit.data.tokenizing import Tokenization

    tokenization = Tokenization(AutoTokenizer.from_pretrained(base), 64)
    with torch.no_grad():
        for line, of_prompt in zip(lines[:6], record["tokens"][:6], strict=True):
            prompt = tokenization.prompt_ids(line["prompt"])
            ids = torch.tensor([prompt + of_prompt[0]])
            ours, theirs = (
                model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
                for model in (policy, reference)
            )
            taken = torch.tensor(of_prompt[0])[:, None]
            ratios.append((ours - theirs).gather(1, taken).sum().item())
    found = [ratio for [ratio] in record["log_ratios"][:6]]
    assert found == pytest.approx(ratios, abs=0.15)  # in bfloat16, summed in another order
    assert max(map(abs, ratios)) > 0.3


def test_a_merged_reward_model_is_assessed_by_its_own_scores(made, tmp_path):
    folder, _ = made
    found = json.loads((folder / "judged" / "evaluation.json").read_text())
    assert found["as"] == "merged"
    export_merged(folder / "judge", tmp_path / "merged")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", dtype=torch.bfloat16)
    assert model.config.num_labels == 1
    assert 0 <= found["targets"]["judge"]["accuracy"]["mean"] <= 1
    assert not (folder / "judged" / "merged").exists()


def test_one_line_tells_a_small_shift_without_advice():
    interval = Interval(-0.31, -0.8, 0.12, 32)
    assert Shift(False, 0.021, interval, "completions").line == (
        "merged, its log-probabilities differ by 0.021 nats per token from those that were trained and "
        "evaluated, and those of a whole text change by -0.31 (-0.80…+0.12): 32 completions"
    )
    assert Shift(True, 0.021, interval, "completions").line == (
        "merged, its scores differ by 0.021 on average and change by -0.31 (-0.80…+0.12): 32 completions"
    )
