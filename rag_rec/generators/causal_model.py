"""A Hugging Face causal language model, with or without a LoRA adapter, that scores labels in one forward pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats
from rag_rec.progress.quiet import quiet_loading

WEIGHTS = "adapter_model.safetensors"
UNBOUNDED = 1 << 30
LOADING = (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError)
"""What transformers and PEFT raise on files that are missing, broken or of another model."""


class CausalModel:
    """One set of weights. Immutable: an adapter makes another :class:`CausalModel` over the same base parameters.

    Args:
        model: what runs.
        template: the base model that adapters are put on. It never runs, so that it can be copied while ``model`` does.
        adapter: digest of the adapter in ``model``.
    """

    def __init__(self, model: Any, template: nn.Module, adapter: str | None = None) -> None:
        self.adapter = adapter
        self.model = model.eval()
        self._template = template
        self._head: nn.Module = self.model.get_output_embeddings()
        config = model.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.most_positions = int(getattr(config, "max_position_embeddings", None) or UNBOUNDED)

    @classmethod
    def open(cls, name: str, device: torch.device, dtype: torch.dtype) -> CausalModel:
        """Load from a folder, or from the Hugging Face cache or hub by name; safetensors only.

        Raises:
            GeneratorFailure: there is no such model, or it cannot be loaded.
        """
        try:
            with quiet_loading():
                model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True)
            template = model.to(device).requires_grad_(False)
        except LOADING as error:
            raise GeneratorFailure(
                Reason.MODEL_NOT_FOUND,
                f"No language model can be loaded from {name} to {device} ({type(error).__name__}); it has to be a "
                "Hugging Face causal language model with weights in safetensors, and the device has to be there.",
            ) from error
        return cls(_twin(template), template)

    def with_adapter(self, folder: Path) -> CausalModel:
        """This model with a LoRA adapter in PEFT's format, named by the folder. This one is not changed.

        Raises:
            GeneratorFailure: the folder holds no adapter, or one of another model.
        """
        if not (folder / WEIGHTS).is_file():
            raise GeneratorFailure(Reason.WRONG_MODEL, f"There is no {WEIGHTS} in {folder}; publish the adapter again.")
        try:
            with quiet_loading():
                adapted = PeftModel.from_pretrained(
                    _twin(self._template),
                    str(folder),
                    autocast_adapter_dtype=False,
                    torch_device=str(self.model.device),
                )
        except LOADING as error:
            raise GeneratorFailure(
                Reason.WRONG_MODEL, f"The adapter in {folder} does not fit the model; build it from this base."
            ) from error
        return CausalModel(adapted.get_base_model(), self._template, folder.name)

    def check(self, question: Encoded) -> None:
        """Refuse what no forward pass can take.

        Raises:
            GeneratorFailure: the prompt is empty or too long, or a token or label is not in the vocabulary.
        """
        tokens = question.tokens
        if not 0 < len(tokens) <= self.most_positions:
            raise GeneratorFailure(
                Reason.INTERNAL,
                f"A prompt has {len(tokens)} tokens and the model takes 1 to {self.most_positions}; "
                "lower the evidence budget or the number of candidates.",
            )
        ids = [*tokens, *(label for label in question.labels if label is not None)]
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            raise GeneratorFailure(
                Reason.WRONG_MODEL, "A token is not in the model's vocabulary; the encoder is of another model."
            )

    def score(self, questions: Sequence[Encoded]) -> list[Floats]:
        """Log-probability of every label at the position after the prompt: float64 [labels] per question."""
        with torch.inference_mode():
            logits = self._next_token_logits(questions).float()
            labels = torch.from_numpy(_padded([[label or 0 for label in each.labels] for each in questions]))
            found = logits.gather(1, labels.to(logits.device)).double()
            found -= logits.logsumexp(1, keepdim=True)
        return [
            np.where([label is not None for label in question.labels], row[: len(question.labels)], np.nan)
            for question, row in zip(questions, found.cpu().numpy(), strict=True)
        ]

    def _next_token_logits(self, questions: Sequence[Encoded]) -> Tensor:
        """Logits [B, V] after the last token of each prompt.

        Prompts are padded on the right, where causal attention never looks, so that no mask is needed and the fastest
        attention kernels apply.
        """
        tokens = torch.from_numpy(_padded([question.tokens for question in questions]))
        last = torch.tensor([len(question.tokens) - 1 for question in questions])
        device = self.model.device
        with _only(self._head, last.to(device)):
            return self.model(input_ids=tokens.to(device), use_cache=False).logits  # type: ignore[no-any-return]


def _twin(model: nn.Module) -> Any:
    """The same model as other modules over the same tensors: adapting it takes the memory of the adapter only."""
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return copy.deepcopy(model, shared)


@contextmanager
def _only(head: nn.Module, last: Tensor) -> Iterator[None]:
    """Let the head see hidden states [B, W] at the positions ``last`` only, and never compute [B, L, V].

    A hook rather than a call of the head, because some architectures scale or cap the logits after it.
    """
    rows = torch.arange(len(last), device=last.device)

    def choose(_: nn.Module, arguments: tuple[Tensor, ...]) -> Tensor:
        return arguments[0][rows, last]

    handle = head.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _padded(rows: Sequence[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of unequal length as int64 [rows, longest], zeros behind."""
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
