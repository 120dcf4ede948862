"""Gathers the questions of many threads into batches, which one thread runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats

LATE = "The model did not answer before the deadline; allow more time, or show it fewer candidates or less evidence."


class Scorer(Protocol):
    """What runs a batch. Only one thread calls it."""

    def score(self, questions: Sequence[Encoded]) -> list[Floats]:
        """As :meth:`rag_rec.generators.protocol.Backend.label_log_probabilities`, in one forward pass."""


@dataclass(slots=True, eq=False)
class _Call:
    """What one caller waits for. The scorer is fixed when it asks: a swap in between does not reach its questions."""

    scorer: Scorer
    deadline: float | None
    answers: list[Floats | None]
    done: Future[None] = field(default_factory=Future)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.answers)

    def answer(self, place: int, found: Floats) -> None:
        self.answers[place] = found
        self.missing -= 1
        if not self.missing:
            _settle(self.done, None)


@dataclass(frozen=True, slots=True)
class _Job:
    question: Encoded
    call: _Call
    place: int

    @property
    def length(self) -> int:
        return len(self.question.tokens)


class Batcher:
    """First come, first served; whatever arrives while a batch runs is gathered into the next, and nothing ever waits
    for company. A question that fails does so alone: the others of its batch are run again without it.

    Args:
        most_questions: in a batch.
        most_tokens: in a batch, padding included; a longer question is run alone. It bounds the memory.
    """

    def __init__(self, most_questions: int, most_tokens: int) -> None:
        self._most_questions = most_questions
        self._most_tokens = most_tokens
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="generator", daemon=True)
        self._worker.start()

    def ask(self, scorer: Scorer, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        """The answers to ``questions``, in their order.

        Raises:
            GeneratorFailure: LATE as soon as the deadline has passed; whatever the scorer raises; ABSENT once closed.
        """
        if not questions:
            return []
        call = _Call(scorer, deadline, [None] * len(questions))
        jobs = [_Job(question, call, place) for place, question in enumerate(questions)]
        jobs.sort(key=lambda job: job.length)  # neighbours in a batch then need little padding
        with self._changed:
            if self._closed:
                raise GeneratorFailure(Reason.ABSENT, "The model has been closed; open it again.")
            self._jobs.extend(jobs)
            self._changed.notify()
        try:
            call.done.result(None if deadline is None else max(0.0, deadline - monotonic()))
        except TimeoutError:
            raise GeneratorFailure(Reason.LATE, LATE) from None
        finally:
            call.done.cancel()  # what is still to be run for a caller who has gone is dropped
        return [answer for answer in call.answers if answer is not None]

    def close(self) -> None:
        """End the thread after the batch that it runs; who still waits gets a failure."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._run(batch)
            del batch  # an answered question, and the scorer with it, is not kept while waiting for the next

    def _next_batch(self) -> list[_Job]:
        """Wait for questions and take a batch of them; none once closed."""
        with self._changed:
            while not self._closed:
                self._drop_settled()
                if self._jobs:
                    return self._take()
                self._changed.wait()
            while self._jobs:
                closed = GeneratorFailure(Reason.ABSENT, "The model was closed before it answered.")
                _settle(self._jobs.popleft().call.done, closed)
        return []

    def _drop_settled(self) -> None:
        """Drop questions from the front that nobody waits for, or no longer."""
        while self._jobs and _is_settled(self._jobs[0].call):
            self._jobs.popleft()

    def _take(self) -> list[_Job]:
        batch = [self._jobs.popleft()]
        longest = batch[0].length
        while self._jobs and len(batch) < self._most_questions:
            job = self._jobs[0]
            longest = max(longest, job.length)
            if job.call.scorer is not batch[0].call.scorer or longest * (len(batch) + 1) > self._most_tokens:
                break
            self._jobs.popleft()
            if not _is_settled(job.call):
                batch.append(job)
        return batch

    def _run(self, batch: Sequence[_Job]) -> None:
        try:
            answers = batch[0].call.scorer.score([job.question for job in batch])
        except Exception as error:  # whatever it is, its callers get it and the thread goes on
            self._isolate(batch, error)
            return
        for job, answer in zip(batch, answers, strict=True):
            job.call.answer(job.place, answer)

    def _isolate(self, batch: Sequence[_Job], error: Exception) -> None:
        """Run the questions of a failed batch one by one, so that only the guilty fail."""
        if len(batch) > 1:
            for job in batch:
                if not _is_settled(job.call):
                    self._run([job])
            return
        if not isinstance(error, GeneratorFailure):
            kind = type(error).__name__  # its text might quote the prompt
            error = GeneratorFailure(Reason.INTERNAL, f"The model failed on a prompt: {kind}.")
        _settle(batch[0].call.done, error)


def _is_settled(call: _Call) -> bool:
    """Whether nothing is left to do for a call; one whose deadline has passed is told so."""
    if call.deadline is not None and monotonic() >= call.deadline:
        _settle(call.done, GeneratorFailure(Reason.LATE, LATE))
    return call.done.done()


def _settle(done: Future[None], failure: GeneratorFailure | None) -> None:
    try:
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
    except InvalidStateError:
        pass  # its caller has given up
