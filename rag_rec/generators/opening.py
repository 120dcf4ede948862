"""Opens the generator that the settings name, and keeps it up to date: a new adapter or gate is taken up while running.

Models and their libraries are imported only here, and only when one is opened.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from rag_rec.compact.folder import CompactStore
from rag_rec.compact.vocabulary import FILE as VOCABULARY
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.errors import InvalidInput, RagRecError
from rag_rec.fusion import UNGATED_WEIGHT, Gate, gate_path
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import Care, LanguageModel
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import Backend, Encoder, EvidenceCost, Generator, Prompt, Ranking
from rag_rec.ranker import Ranker
from rag_rec.settings import Settings

log = structlog.get_logger()


class RankerSource(Protocol):
    """Provides the ranker in use."""

    @property
    def current(self) -> Ranker:
        """The ranker in use."""

    def refresh(self) -> None:
        """Take up what is current on disk by now."""

    def close(self) -> None:
        """Release it."""


class FixedRanking:
    """Always the same ranker; for tests and offline work."""

    def __init__(self, generator: Generator, gate: Gate | None, timeout_seconds: float = 60.0) -> None:
        self.current = Ranker(generator, gate, timeout_seconds)

    def refresh(self) -> None:
        """Nothing can have changed."""

    def close(self) -> None:
        """Close the generator."""
        self.current.generator.close()


class Unavailable:
    """Stands for a generator that could not be opened: every answer falls back, and says why."""

    ranks: Final = True
    most_candidates: Final = 1
    evidence_cost: EvidenceCost | None = None

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def rank(self, prompt: Prompt, deadline: float | None = None) -> Ranking:  # noqa: ARG002 - the seam's signature
        """Always raises ``GeneratorFailure``."""
        raise GeneratorFailure(self.reason, "The generator could not be opened; see `rag-rec doctor`.")

    def close(self) -> None:
        """There is nothing to release."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should answer: ``model`` is a folder or a name, ``digest`` names it for the gate; None: no LLM."""

    kind: str
    model: str
    digest: str
    adapter: Path | None

    @property
    def adapter_digest(self) -> str | None:
        """The adapter's name."""
        return self.adapter.name if self.adapter else None


def wanted(settings: Settings) -> Wanted | None:
    """What the settings and the folder of the compact generator ask for at present.

    Raises:
        InvalidInput: a generator is asked for by name, and there is none.
        CorruptIndex: the compact generator's pointer is damaged.
    """
    if settings.generator == "passthrough":
        return None
    kind = "local" if settings.generator == "auto" else settings.generator
    if settings.generator_model is not None:
        return Wanted(kind, settings.generator_model, settings.generator_model, None)
    store = CompactStore(settings.compact)
    used = store.current()
    if used is None:
        if settings.generator == "auto":
            return None
        raise InvalidInput(
            "There is no model: run `rag-rec compact build`, or name an LLM with RAGREC_GENERATOR_MODEL."
        )
    adapter = None if used.adapter is None else store.adapters / used.adapter
    return Wanted(kind, str(store.bases / used.base), used.base, adapter)


def open_generator(settings: Settings, target: Wanted) -> LanguageModel:
    """A language model with its prompt encoder. The adapter is not loaded yet."""
    encoder = _encoder(target)
    least = settings.generator_least_mass or encoder.least_mass
    care = Care(least, settings.generator_orders, settings.seed)
    return LanguageModel(encoder, _backend(settings, target), care)


def _encoder(target: Wanted) -> Encoder:
    if (Path(target.model) / VOCABULARY).is_file():
        from rag_rec.compact.encoder import ItemTokenEncoder  # noqa: PLC0415 - only where it is used

        return ItemTokenEncoder(Vocabulary.load(Path(target.model)))
    from rag_rec.generators.letters import LetterEncoder  # noqa: PLC0415 - imports transformers

    return LetterEncoder.open(target.model)


def _backend(settings: Settings, target: Wanted) -> Backend:
    if target.kind == "vllm":
        from rag_rec.generators.vllm import VllmBackend  # noqa: PLC0415 - only where it is used

        key = settings.generator_key.get_secret_value() if settings.generator_key else None
        return VllmBackend(settings.generator_urls, settings.generator_served_name, key=key)
    from rag_rec.generators.local import LocalBackend  # noqa: PLC0415 - imports torch

    folder = Path(target.model)
    return LocalBackend.open(folder if folder.is_dir() else target.model, device=settings.generator_device)


def load_gate(settings: Settings, target: Wanted) -> Gate | None:
    """What was measured of this model and adapter; where gates are turned off, a neutral one."""
    if not settings.generator_gate:
        return Gate(use=True, weight=UNGATED_WEIGHT)
    return Gate.load(gate_path(settings.gates, target.digest, target.adapter_digest))


class OpenRanking:
    """The generator of the settings. What cannot be opened is tried again at the next refresh."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout = settings.generator_timeout_ms / 1000
        self._lock = threading.Lock()
        self._held: LanguageModel | None = None
        self._target: Wanted | None = None
        self.current = Ranker(Passthrough(), None, self._timeout)
        if settings.generator == "vllm" and not settings.generator_urls:
            raise InvalidInput("No vLLM server is named: set RAGREC_GENERATOR_URLS or give --base-url.")
        self.refresh()

    def refresh(self) -> None:
        """Take up the model, the adapter and the gate that are current by now."""
        with self._lock:
            target = wanted(self._settings)
            if target is None:
                return
            gate = load_gate(self._settings, target)
            try:
                generator: Generator = self._opened(target)
            except GeneratorFailure as failure:
                log.warning("generator_unavailable", reason=failure.reason.value)
                generator = Unavailable(failure.reason)
            if (generator, gate) != (self.current.generator, self.current.gate):
                self.current = Ranker(generator, gate, self._timeout)

    def close(self) -> None:
        """Release the model."""
        with self._lock:
            if self._held is not None:
                self._held.close()

    def _opened(self, target: Wanted) -> LanguageModel:
        """The model with its adapter; the old one is closed once the new one is there."""
        old, model = self._held, self._held
        if model is None or self._target is None or self._target.model != target.model:
            model = open_generator(self._settings, target)
        if model is not old or model.backend.adapter != target.adapter_digest:
            try:
                model.backend.use_adapter(target.adapter)
            except RagRecError:
                if model is not old:
                    model.close()
                raise
        self._held, self._target = model, target
        if old is not None and old is not model:
            old.close()
        return model


def open_ranking(settings: Settings) -> RankerSource:
    """The ranker that the settings ask for."""
    if settings.generator == "passthrough":
        return FixedRanking(Passthrough(), None)
    return OpenRanking(settings)
