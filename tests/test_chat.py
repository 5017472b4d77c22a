"""The conversation: what is sampled from, and what is remembered."""

import pytest
import torch
from tiny_models import shake, tiny_model
from tiny_tokenizers import CHATML, byte_tokenizer

from alignkit import UserError, chat, recipe
from alignkit.data.tokenizing import Tokenization
from alignkit.example import BadExample
from alignkit.models import shared
from alignkit.models.base import Base
from alignkit.models.roles import Roles
from alignkit.run.manifest import Inputs, Manifest, TermInputs
from alignkit.sampler import Sampling
from alignkit.sampling.engine import sample


@pytest.fixture(params=[None, CHATML], ids=["plain", "conversational"])
def stage(request, tmp_path, monkeypatch):
    """A trained policy over a tiny base, saved, and its roles."""
    tokenizer = byte_tokenizer(request.param)
    tokenizer.pad_token = tokenizer.eos_token
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=512).requires_grad_(False)
    base = Base(model, tokenizer, torch.float32, torch.device("cpu"), "the test says so")
    with Roles(base, recipe.Lora(r=4, alpha=8), seed=0) as trained:
        trained.add("policy", trainable=True)
        shake(trained, "policy")
        trained.save("policy", tmp_path / "adapter")
    term = TermInputs("sft", 1.0, "pairs", {"policy": "language-model"})
    inputs = Inputs("0", "train", {}, {}, {"lora": {"r": 4, "alpha": 8}}, 0, {}, (term,))
    manifest = Manifest(inputs.fingerprint, inputs, done=True)
    monkeypatch.setattr(chat, "finished_adapter", lambda folder: (folder / "adapter", manifest))
    monkeypatch.setattr(shared, "load_base", lambda spec, registry, device: base)
    return tmp_path, base


def test_answers_are_sampled_from_the_policy_after_the_turns_so_far(stage):
    folder, base = stage
    settings = Sampling(1, 0.9, 0.95, max_tokens=10, seed=4)
    talk = chat.Chat(folder, settings)
    tokenization = Tokenization(base.tokenizer, 502)
    for question in ("hello there", "the cat?"):
        asked = (
            [*talk.turns, {"role": "user", "content": question}] if base.tokenizer.chat_template else question
        )
        with talk.roles.active("policy") as model:
            ids = tokenization.prompt_ids(asked)
            [[expected]] = sample(model, [ids], settings, eos=base.ends | tokenization.stop_ids, pad=base.pad)

        assert talk.answer(question).text == base.text(expected.tokens)

    assert [turn["role"] for turn in talk.turns] == ["user", "assistant"] * 2


def test_a_conversation_that_is_too_long_loses_its_beginning(stage):
    folder, base = stage
    talk = chat.Chat(folder, Sampling(1, max_tokens=500))  # of 512 positions, 12 are left for the prompt
    asked = []
    inner = talk.sampler.sample
    talk.sampler.sample = lambda role, prompts, settings, **more: (
        asked.extend(prompts) or inner(role, prompts, Sampling(1, max_tokens=1))
    )
    talk.answer("a question of many words, of which the first are left out")
    assert len(asked[0]) == 12
    whole = Tokenization(base.tokenizer, 512).prompt_ids(
        talk.turns[:1]
        if base.tokenizer.chat_template
        else "a question of many words, of which the first are left out"
    )
    assert asked[0] == whole[-12:]


def test_answers_that_leave_no_room_for_a_prompt_are_refused(stage):
    with pytest.raises(UserError, match="answers of 512 tokens leave no room"):
        chat.Chat(stage[0], Sampling(1, max_tokens=512))


@pytest.mark.parametrize(
    ("prompt_ids", "words"),
    [([], "the prompt is empty"), (BadExample("odd"), "cannot be written for this model: odd")],
)
def test_a_prompt_without_tokens_or_one_that_cannot_be_written_is_refused(
    stage, monkeypatch, prompt_ids, words
):
    talk = chat.Chat(stage[0], Sampling(1, max_tokens=3))

    def answer(text, room):
        if isinstance(prompt_ids, BadExample):
            raise prompt_ids
        return prompt_ids

    monkeypatch.setattr(talk.tokenization, "prompt_ids", answer)
    with pytest.raises(UserError, match=words) as caught:
        talk.answer("?")
    assert caught.value.where == "--prompt"
