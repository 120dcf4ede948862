"""The adapter on disk: LoRA in the format of PEFT, which transformers and vLLM load alike.

A trained difference D [out, in] of a matrix is factored by singular values into B [out, r] and A [r, in], each with
the square root of them: the best approximation of rank r, and D itself where r is not less than the smaller side
(Eckart and Young, 1936). LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import orjson
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from rag_rec.artifacts.private import write_durably

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"

TARGETS: Final = (
    "down_proj",
    "embed_tokens",
    "gate_proj",
    "k_proj",
    "lm_head",
    "o_proj",
    "q_proj",
    "up_proj",
    "v_proj",
)
"""Every matrix of a Llama."""

VLLM_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as ``--max-lora-rank``."""

Deltas = Mapping[str, Tensor]
"""Differences to the base by the name of the weight: float32 [out, in]; of the embedding [tokens, width]."""

Model = TypeVar("Model", bound=nn.Module)


def trained_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices that an adapter changes, by name, in a fixed order."""
    named = sorted(model.named_parameters())
    return {name: weight for name, weight in named if _module(name).rpartition(".")[2] in TARGETS}


def merged(model: Model, deltas: Deltas) -> Model:
    """A copy of a base with these differences; a matrix without one is as it was."""
    found = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in trained_weights(found).items():
            if name in deltas:
                weight.add_(deltas[name])
    return found


def factor(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The matrices A float32 [rank, in] and B float32 [out, rank] whose product B A is the best of this rank.

    Where ``rank`` exceeds the smaller side of the difference [out, in], rows of zeros fill up.
    """
    left, values, right = torch.linalg.svd(delta.double(), full_matrices=False)
    count = min(rank, len(values))
    root = values[:count].sqrt()
    a, b = delta.new_zeros(rank, delta.shape[1]), delta.new_zeros(delta.shape[0], rank)
    a[:count] = (root[:, None] * right[:count]).float()
    b[:, :count] = (left[:, :count] * root).float()
    return a, b


def served(deltas: Deltas, rank: int) -> dict[str, Tensor]:
    """The differences as an adapter of this rank has them, float32: what :func:`read_deltas` finds."""
    return {name: _product(name, *_oriented(name, delta, rank)) for name, delta in deltas.items()}


def read_deltas(folder: Path, weights: Iterable[str]) -> dict[str, Tensor]:
    """The differences of an adapter on disk, whose files have been checked.

    Args:
        folder: of the adapter.
        weights: names of the base's matrices.
    """
    held = load_file(folder / WEIGHTS)
    return {name: _product(name, *(held[key] for key in _keys(_module(name)))) for name in weights}


def write_adapter(folder: Path, deltas: Deltas, rank: int, base: str) -> None:
    """Write an adapter in the format of PEFT into a folder. Equal differences give equal bytes.

    Args:
        folder: an empty folder.
        deltas: differences of all matrices of the base.
        rank: of the LoRA matrices.
        base: digest of the base, for readers of the configuration.
    """
    tensors: dict[str, Tensor] = {}
    for name, delta in sorted(deltas.items()):
        tensors |= _named(_module(name), *_oriented(name, delta, rank))
    write_durably(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    write_durably(folder / CONFIG, orjson.dumps(_config(rank, base), option=orjson.OPT_INDENT_2))


def parameters(deltas: Deltas, rank: int) -> int:
    """Numbers in an adapter of this rank."""
    return sum(rank * sum(delta.shape) for delta in deltas.values())


def served_rank(rank: int) -> int | None:
    """The least ``--max-lora-rank`` with which vLLM serves an adapter of this rank; None if there is none."""
    return next((each for each in VLLM_RANKS if each >= rank), None)


def _module(weight: str) -> str:
    return weight.removesuffix(".weight")


def _oriented(name: str, delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A and B as PEFT keeps them: for an embedding [tokens, width], A is [rank, tokens] and B is [width, rank]."""
    return factor(delta.T if name.endswith("embed_tokens.weight") else delta, rank)


def _product(name: str, a: Tensor, b: Tensor) -> Tensor:
    product = b @ a
    return product.T.contiguous() if name.endswith("embed_tokens.weight") else product


def _named(module: str, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    return dict(zip(_keys(module), (a, b), strict=True))


def _keys(module: str) -> tuple[str, str]:
    """PEFT's names of A and B: those of an embedding are parameters, the others are modules with a weight."""
    kind = "lora_embedding_{}" if module.endswith("embed_tokens") else "lora_{}.weight"
    first, second = (f"base_model.model.{module}.{kind.format(part)}" for part in "AB")
    return first, second


def _config(rank: int, base: str) -> dict[str, object]:
    """Scaling is ``lora_alpha / r``, that is one."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": list(TARGETS),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
    }
