"""Tiny models with random weights, in the Hugging Face format, for tests of what runs them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmarks.random_models import CHAT_TEMPLATE, save_random

SPECIALS = ("<bos>", "<pad>", "<answer>", "<unknown>")
ITEMS = tuple(f"<item_{number}>" for number in range(60))
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "embed_tokens", "lm_head")
LINES = (
    "You recommend items. Here is what a person watched and liked, oldest first.",
    "Answer with the one letter of the candidate that this person will choose next.",
    "A. Toy Story (1995), Animation; B. Heat (1995), Action, Crime, Thriller; C. Sabrina (1995), Comedy, Romance",
    '{"1": 80, "2": 35, "3": 99}',
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789",
)


def tiny_item_model(
    folder: Path, items: Sequence[str] = ITEMS, seed: int = 0, width: int = 32, most_positions: int = 128
) -> Path:
    """A two-layer Llama with an untied head, whose vocabulary is :data:`SPECIALS` and then one token per item."""
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *items])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        **_shape(width, most_positions),
        vocab_size=len(vocabulary),
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    special = {"bos_token": "<bos>", "pad_token": "<pad>", "eos_token": "<answer>", "unk_token": "<unknown>"}
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return save_random(LlamaForCausalLM, config, seed, folder)


def tiny_chat_model(folder: Path, seed: int = 0, width: int = 32, most_positions: int = 8192) -> Path:
    """A two-layer Qwen3 with a byte-level BPE tokenizer and the ChatML template, like instruction-tuned LLMs."""
    tokenizer = _byte_level_tokenizer()
    config = Qwen3Config(
        **_shape(width, most_positions),
        vocab_size=tokenizer.get_vocab_size(),
        head_dim=width // 4,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
    )
    fast: Any = PreTrainedTokenizerFast
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    fast(tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE, **special).save_pretrained(folder)
    return save_random(Qwen3ForCausalLM, config, seed, folder)


def tiny_adapter(base_folder: Path, folder: Path, seed: int, rank: int = 8) -> Path:
    """A random LoRA adapter of a model above, on every linear layer and, if untied, on the embeddings and the head."""
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    targets = list(ADAPTED[:-2] if base.config.tie_word_embeddings else ADAPTED)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # PEFT asks transformers by an old name
        adapted = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.15, generator=generator)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def _shape(width: int, most_positions: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": most_positions,
        "initializer_range": 0.2,
    }


def _byte_level_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer
