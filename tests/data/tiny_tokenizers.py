"""Builds small tokenizers for tests: of bytes and of words, with and without a BOS, with chat templates."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TRIMMING = (
    "{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] | trim + '<eot>' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
WITHOUT_END = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
HEADED = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '<|im_end|>\n\n' }}"
    "{{ m['content'] | trim + '<eot>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_end|>\n\n' }}{% endif %}"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<eot>"]
CORPUS = [
    "user assistant system hello world the cat sat on the mat",
    "hello there, how are you today?\n\nfine, thank you!\n",
] * 4


@cache
def byte_tokenizer(
    template: str | None = None, *, bos: bool = False, eos: str = "</s>"
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with a few merges, so that some tokens straddle the edges of words.

    bos: it puts <s> before plain text.
    """
    core = Tokenizer(models.BPE(unk_token=None))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
        )
    return _wrap(core, template, eos)


@cache
def prefixing_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer that puts a space before the first word of a text, as Llama 2's does.

    A text by itself then begins with other tokens than the same text after other text.
    """
    letters = {
        character: number for number, character in enumerate([*SPECIAL, "▁", *map(chr, range(33, 127)), "\n"])
    }
    core = Tokenizer(models.BPE(vocab=letters, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Metaspace()
    core.add_special_tokens(SPECIAL)
    return _wrap(core, template, "</s>")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words. It cannot write the text of a special token as plain text."""
    words = {word: number for number, word in enumerate([*SPECIAL, "hello", "world"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _wrap(core, None, "</s>")


def _wrap(core: Tokenizer, template: str | None, eos: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token=eos,
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
    )
    tokenizer.chat_template = template
    return tokenizer


def user(content: str) -> dict[str, str]:
    """Return a user's message."""
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    """Return an assistant's message."""
    return {"role": "assistant", "content": content}


def tool(content: str) -> dict[str, str]:
    """Return a tool's message."""
    return {"role": "tool", "content": content}
