"""Tokenizers for tests: byte-level BPE as Qwen and Llama 3 have it, and one with word marks as Llama 2 has it."""

from __future__ import annotations

import string
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.random_models import CHAT_TEMPLATE
from tests.rag_rec.generators.models import LINES

CHATML = CHAT_TEMPLATE
MISTRAL = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<s>[INST] {{ message.content | trim }} [/INST]{% endfor %}"
)
LLAMA = (
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN = CHATML.replace(
    "assistant\n",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}",
)
THINKER = CHATML.replace("assistant\n", "assistant\n<think>\n")
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "[INST]", "[/INST]", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip


def chat_tokenizer(template: str | None = CHATML, *, word_marks: bool = False, alphabet: str | None = None) -> Any:
    """A Hugging Face tokenizer with a chat template. ``alphabet`` limits the characters that are one token each."""
    tokenizer = Tokenizer(models.BPE(unk_token=None if alphabet is None else "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace() if word_marks else pre_tokenizers.ByteLevel(False)
    tokenizer.decoder = decoders.Metaspace() if word_marks else decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*SPECIAL, *([] if alphabet is None else ["<unk>"])],
        show_progress=False,
        **_alphabet(alphabet or string.printable if word_marks else alphabet),
    )
    tokenizer.train_from_iterator([*LINES, *(f" {letter}" for letter in 9 * LINES[-1])], trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer)  # type: ignore[no-untyped-call]
    fast.chat_template = template
    return fast


def _alphabet(characters: str | None) -> dict[str, Any]:
    """A trainer's options for just these characters; for every byte, if None."""
    if characters is None:
        return {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    return {"initial_alphabet": list(characters), "limit_alphabet": len(characters)}
