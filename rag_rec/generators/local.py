"""Runs a Hugging Face causal language model in this process: transformers and PEFT, on a CPU or a GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from rag_rec.errors import InvalidInput
from rag_rec.generators.batching import Batcher
from rag_rec.generators.causal_model import CausalModel
from rag_rec.generators.failures import GeneratorFailure
from rag_rec.generators.protocol import Encoded, Floats

MOST_TOKENS = 65_536
"""In one batch, padding included."""


class LocalBackend:
    """A :class:`rag_rec.generators.protocol.Backend` in process; one thread runs the model for all who ask."""

    def __init__(self, base: CausalModel, name: str, most_batch: int = 32, most_tokens: int = MOST_TOKENS) -> None:
        self.model = name
        self.base = base
        self._current = base
        self._swapping = threading.Lock()
        self._batcher = Batcher(most_batch, most_tokens)

    @classmethod
    def open(
        cls,
        folder_or_name: Path | str,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: torch.dtype | None = None,
        most_batch: int = 32,
    ) -> LocalBackend:
        """Load a model.

        Args:
            folder_or_name: a folder in the Hugging Face format, or a name on the hub.
            adapter: folder of a LoRA adapter in PEFT's format; its name is the adapter's digest.
            device: ``auto`` takes a GPU where there is one.
            dtype: of the weights and of the computation; float32 on a CPU and bfloat16 on a GPU unless given.
            most_batch: how many questions one forward pass takes.

        Raises:
            GeneratorFailure: the model or the adapter cannot be loaded.
            InvalidInput: there is no such kind of device.
        """
        place = _place(device)
        precision = dtype or (torch.float32 if place.type == "cpu" else torch.bfloat16)
        base = CausalModel.open(str(folder_or_name), place, precision)
        name = folder_or_name.name if isinstance(folder_or_name, Path) else folder_or_name
        backend = cls(base, name, most_batch)
        try:
            backend.use_adapter(adapter)
        except BaseException:
            backend.close()
            raise
        return backend

    @property
    def adapter(self) -> str | None:
        """Digest of the adapter that answers calls made from now on; None for the base model."""
        return self._current.adapter

    def use_adapter(self, folder: Path | None) -> None:
        """Answer with another adapter from the next call on; None is the base model.

        Calls in progress finish with the adapter that they began with, and the last of them releases it.

        Raises:
            GeneratorFailure: the adapter cannot be loaded; nothing was changed.
        """
        with self._swapping:
            if folder is None or folder.name != self.adapter:
                self._current = self.base if folder is None else self.base.with_adapter(folder)

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        """See :meth:`rag_rec.generators.protocol.Backend.label_log_probabilities`."""
        model = self._current
        for question in questions:
            model.check(question)
        return self._batcher.ask(model, questions, deadline)

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:  # noqa: ARG002 - the seam's signature
        """None: a model in this process can be asked as long as it is open."""
        return None

    def close(self) -> None:
        """End the thread; the memory goes with the last reference to the backend."""
        self._batcher.close()


def _place(device: str) -> torch.device:
    try:
        return torch.device(_best_device() if device == "auto" else device)
    except RuntimeError:
        raise InvalidInput(
            f"There is no device {device!r}: set RAGREC_GENERATOR_DEVICE to auto, cpu or cuda."
        ) from None


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
