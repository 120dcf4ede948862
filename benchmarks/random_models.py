"""Language models with random weights in the Hugging Face format. Speed does not depend on the values of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How the tokenizers of instruction-tuned LLMs cut text before they merge bytes; numbers by up to three digits."""
HEAD = 64  # the width of an attention head


@dataclass(frozen=True, slots=True)
class Size:
    """Layers, width of the hidden states, and entries of the vocabulary."""

    layers: int
    width: int
    vocabulary: int


def instruction_model(folder: Path, texts: Sequence[str], size: Size, seed: int) -> Path:
    """A Qwen3 architecture with a byte-level BPE tokenizer trained on ``texts``, and the ChatML template."""
    tokenizer = _byte_level_tokenizer(texts, size.vocabulary)
    config = Qwen3Config(
        **_shape(size),
        head_dim=HEAD,
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )
    fast: Any = PreTrainedTokenizerFast
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    fast(tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE, **special).save_pretrained(folder)
    return save_random(Qwen3ForCausalLM, config, seed, folder)


def item_model(folder: Path, size: Size, seed: int) -> Path:
    """A Llama architecture with one token per item and an untied head, like the compact generator. No tokenizer."""
    config = LlamaConfig(
        **_shape(size),
        vocab_size=size.vocabulary,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=None,
    )
    return save_random(LlamaForCausalLM, config, seed, folder)


def _shape(size: Size) -> dict[str, Any]:
    heads = max(1, size.width // HEAD)
    return {
        "hidden_size": size.width,
        "intermediate_size": 3 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
    }


def save_random(architecture: Any, config: Any, seed: int, folder: Path) -> Path:
    """Write a model of this architecture with weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture(config).save_pretrained(folder)
    return folder


def _byte_level_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
