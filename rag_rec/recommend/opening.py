"""Opens the generator that the settings name, and keeps it up to date: a new adapter or gate is taken up while running.

Models and their libraries are imported only here, and only when one is opened.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.policy import AdapterPolicy
from rag_rec.clock import now_ms
from rag_rec.compact.vocabulary import FILE as VOCABULARY
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.errors import CorruptIndex, InvalidInput, NotReady, needs
from rag_rec.fairness.control import Control
from rag_rec.generators.condition import Condition, ConditionKeeper, Standing
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import Backend, Encoder, Generator
from rag_rec.generators.spec import GeneratorSpec, wanted
from rag_rec.recommend.gate import UNGATED_WEIGHT, Gate, load_control, load_gate
from rag_rec.recommend.ranker import Ranker
from rag_rec.recommend.source import FixedRanking, RankerSource, Unavailable, condition_of
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

RETRY_SECONDS: Final = 30.0
"""What could not be opened or loaded is left alone for so long: models are large, and servers may be away for long."""

FIRST_LOOK_SECONDS: Final = 1.0
"""So long a start waits to see whether the LLM's servers are there."""

GRACE_SECONDS: Final = 5.0
"""A model that has been replaced is closed so long after the last of its answers is due."""

log = structlog.get_logger()


def open_generator(settings: Settings, target: GeneratorSpec) -> LanguageModel:
    """A language model with its prompt encoder.

    The adapter is not loaded yet; a vLLM server that is reached before it is told to load one gets it by itself.

    Raises:
        GeneratorFailure: there is no such model, or it cannot be loaded.
        InvalidInput: it is not one that prompts can be written for.
    """
    try:
        encoder = _encoder(target)
    except (NotReady, OSError) as error:
        message = str(error) if isinstance(error, NotReady) else f"The model {target.model!r} cannot be read."
        raise GeneratorFailure(Reason.MODEL_NOT_FOUND, message) from error
    least = settings.generator_least_mass or encoder.least_mass
    care = RankingOptions(least, settings.generator_orders, settings.seed)
    return LanguageModel(encoder, _backend(settings, target), care)


def _encoder(target: GeneratorSpec) -> Encoder:
    if (Path(target.model) / VOCABULARY).is_file():
        from rag_rec.generators.item_tokens import ItemTokenEncoder  # noqa: PLC0415 - only where it is used

        return ItemTokenEncoder(Vocabulary.load(Path(target.model)))
    with needs("llm"):
        from rag_rec.generators.letters import LetterEncoder  # noqa: PLC0415 - imports transformers

    return LetterEncoder.open(target.model)


def _backend(settings: Settings, target: GeneratorSpec) -> Backend:
    if target.kind == "vllm":
        from rag_rec.generators.vllm import VllmBackend  # noqa: PLC0415 - only where it is used

        key = settings.generator_key.get_secret_value() if settings.generator_key else None
        base = target.digest if settings.generator_model is None else None
        served_name = settings.generator_served_name
        return VllmBackend(settings.generator_urls, served_name, key, target.adapter, base=base)
    with needs("llm"):
        from rag_rec.generators.local import LocalBackend  # noqa: PLC0415 - imports torch

    folder = Path(target.model)
    return LocalBackend.open(folder if folder.is_dir() else target.model, device=settings.generator_device)


class OpenRanking:
    """The generator of the settings. What fails to open does not stop the service: the ranker in use stays, and the
    candidates' order is the answer where there is none; it is tried again after a while.

    An adapter that saw a forgotten person leaves with the next refresh once the policy of the settings does not
    let it rank any more.

    Args:
        settings: they name the generator.
        store: knows whom adapters saw, and who was forgotten.
        clock: the time in milliseconds since 1970 UTC.

    Raises:
        InvalidInput: the settings ask for what cannot be.
    """

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], int] | None = None) -> None:
        self._settings = settings
        self._policy = AdapterPolicy(store, settings)
        self._folder = AdapterStore(settings.compact).adapters
        self._clock = clock or now_ms
        self._timeout = settings.generator_timeout_ms / 1000
        self._lock = threading.Lock()
        self._keeper = ConditionKeeper(self._clock)
        self._held: LanguageModel | None = None
        self._target: GeneratorSpec | None = None
        self._failed: tuple[GeneratorSpec, float, Reason] | None = None  # what could not be opened, when, and why
        self._retired: list[tuple[LanguageModel, float]] = []
        self.current = Ranker(Passthrough(), None, self._timeout)
        try:
            self.refresh(FIRST_LOOK_SECONDS)
        except CorruptIndex:
            self._keeper.down(Reason.DAMAGED, "CorruptIndex")
            gate = Gate(use=True, weight=UNGATED_WEIGHT)
            self.current = Ranker(Unavailable(Reason.DAMAGED), gate, self._timeout)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Digests of the adapters in memory, sorted: of the model in use, and of those that are not closed yet.

        An adapter whose place another took in the same model is not among them: no answer made with it is used any
        more (:meth:`LanguageModel.rank`), and it leaves memory with the call that was under way.
        """
        held = self._held  # before the others: a model is put with those before another takes its place
        models = [*(model for model, _ in self._retired), *([held] if held else [])]
        return tuple(sorted({model.backend.adapter for model in models if model.backend.adapter is not None}))

    @property
    def condition(self) -> Condition:
        """Whether the generator can be asked, as far as is known; if it can, why it takes no part."""
        last = self._keeper.last
        return condition_of(self.current) if last.state is Standing.UP else last

    def refresh(self, wait: float = 0.0) -> None:
        """Take up the model, the adapter and the gate that are current by now, and see whether servers are there.

        Args:
            wait: seconds that may be spent on looking at the servers.

        Raises:
            InvalidInput: the settings ask for what is not there any more.
            CorruptIndex: the compact generator's pointer or the gate is damaged; the ranker in use stays.
        """
        with self._lock:
            self._close_retired(time.monotonic() - self._timeout - GRACE_SECONDS)
            self._withhold()
            target = self._permitted(wanted(self._settings))
            if target is None:
                self._take_up_control()
            elif not self._has_just_failed(target):
                self._take_up(target, load_gate(self._settings, target))
            self._look(target, wait)

    def close(self) -> None:
        """Release the model."""
        with self._lock:
            self._close_retired(time.monotonic())
            if self._held is not None:
                self._held.close()

    def _look(self, target: GeneratorSpec | None, wait: float) -> None:
        """Note how the generator is: the one in use, or the one that could not be opened where none is."""
        if self._held is not None:
            self._keeper.tell(self._held.backend.problem(wait))
        elif target is None:
            self._keeper.off()

    def _withhold(self) -> None:
        """Ask the adapter in use no more once it may not rank, or is destroyed, whatever becomes of the one that is to
        follow it."""
        held = self._held
        if held is not None and not self._may_stay(held.backend.adapter):
            self.current = Ranker(held, None, self._timeout, withheld=True, control=self.current.control)

    def _permitted(self, target: GeneratorSpec | None) -> GeneratorSpec | None:
        """What is wanted, without an adapter that may not rank."""
        if target is None or self._may_rank(target.adapter_digest):
            return target
        return replace(target, adapter=None, withheld=True)

    def _may_stay(self, adapter: str | None) -> bool:
        return adapter is None or (self._may_rank(adapter) and (self._folder / adapter).is_dir())

    def _may_rank(self, adapter: str | None) -> bool:
        return adapter is None or self._policy.may_serve(adapter, self._clock())

    def _take_up_control(self) -> None:
        """Of the candidates' order, where there is no LLM."""
        control = load_control(self._settings, None)
        if self._held is None and control != self.current.control:
            self.current = Ranker(Passthrough(), None, self._timeout, control=control)

    def _take_up(self, target: GeneratorSpec, gate: Gate | None) -> None:
        before, old = self.current, self._held
        if old is not None and self._is_swap(target) and not (gate and gate.use):
            # the new adapter must not answer under the old one's gate
            self.current = self._ranker(old, gate, target)
        try:
            model = self._opened(target)
        except InvalidInput:
            self.current = before
            raise
        except Exception as error:  # whatever a model's library raises: the service goes on without it
            self.current = before
            self._note_failure(target, gate, error)
            return
        if old is not None and old is not model:
            self._retired.append((old, time.monotonic()))
        self._held, self._target, self._failed = model, target, None
        current, ranker = self.current, self._ranker(model, gate, target)
        if _parts(ranker) != _parts(current):
            self.current = ranker

    def _note_failure(self, target: GeneratorSpec, gate: Gate | None, error: Exception) -> None:
        """Remember what could not be opened; it is logged once, however often it is tried again."""
        reason, before = _reason_of(error), self._failed
        self._failed = target, time.monotonic(), reason
        if self._held is None:
            self._keeper.down(reason, type(error).__name__)
            self.current = self._ranker(Unavailable(reason), gate, target)
        elif before is None or (before[0], before[2]) != (target, reason):
            log.warning("generator_not_replaced", reason=reason.value, kind=type(error).__name__)

    def _ranker(self, generator: Generator, gate: Gate | None, target: GeneratorSpec) -> Ranker:
        return Ranker(
            generator,
            gate,
            self._timeout,
            withheld=target.withheld,
            problem=lambda: self._keeper.problem,
            control=load_control(self._settings, gate),
        )

    def _opened(self, target: GeneratorSpec) -> LanguageModel:
        """The model in use, or another one where another is wanted, with its adapter."""
        old = self._held
        if old is not None and self._target is not None and self._target.model == target.model:
            if old.backend.adapter != target.adapter_digest:
                old.backend.use_adapter(target.adapter)
            return old
        model = open_generator(self._settings, target)
        try:
            model.backend.use_adapter(target.adapter)
        except Exception as error:  # raised again, except where the adapter follows by itself
            if not isinstance(error, GeneratorFailure) or model.backend.adapter != target.adapter_digest:
                model.close()
                raise
            log.warning("generator_waits", reason=error.reason.value)  # a server that comes back gets the adapter
        return model

    def _is_swap(self, target: GeneratorSpec) -> bool:
        """Whether nothing but the adapter of the model in use is to change."""
        loaded = self._target
        return loaded is not None and loaded.model == target.model and loaded.adapter != target.adapter

    def _has_just_failed(self, target: GeneratorSpec) -> bool:
        if self._failed is None:
            return False
        failed, when, _ = self._failed
        return failed == target and time.monotonic() < when + RETRY_SECONDS

    def _close_retired(self, before: float) -> None:
        """Close the models that were replaced before then: nobody waits for their answers any more."""
        for retired in [each for each in self._retired if each[1] <= before]:
            self._retired.remove(retired)
            retired[0].close()


def _parts(ranker: Ranker) -> tuple[Generator, Gate | None, bool, Control | None]:
    return ranker.generator, ranker.gate, ranker.withheld, ranker.control


def _reason_of(error: Exception) -> Reason:
    """Why a generator could not be opened, in a word."""
    if isinstance(error, GeneratorFailure):
        return error.reason
    if isinstance(error, CorruptIndex):
        return Reason.DAMAGED
    return Reason.MODEL_NOT_FOUND if isinstance(error, (NotReady, FileNotFoundError)) else Reason.INTERNAL


def open_ranking(settings: Settings, store: Store) -> RankerSource:
    """The ranker that the settings ask for, with the adapter that the store's debts allow."""
    if settings.generator == "passthrough" and not settings.exposure_figures:
        return FixedRanking(Passthrough(), None)
    return OpenRanking(settings, store)
