from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.generators.batching import Batcher
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats

FOREVER = 600.0


class Scripted:
    """Answers with the length of the prompt; waits at the gate; fails on a prompt that holds the token 13."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self._gate = gate

    def score(self, questions: Sequence[Encoded]) -> list[Floats]:
        self.batches.append([len(each.tokens) for each in questions])
        self.begun.release()
        if self._gate is not None:
            assert self._gate.wait(FOREVER)
        if any(13 in each.tokens for each in questions):
            raise RuntimeError("secret words of the prompt")
        return [np.array([float(len(each.tokens))]) for each in questions]


def prompt(length: int, token: int = 5) -> Encoded:
    return Encoded((token,) * length, (7,))


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(most_questions=4, most_tokens=100)
    yield made
    made.close()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), max_size=40),
    most_questions=st.integers(1, 6),
    most_tokens=st.integers(1, 60),
)
def test_every_question_is_answered_once_within_the_bounds(
    lengths: list[int], most_questions: int, most_tokens: int
) -> None:
    batcher, scorer = Batcher(most_questions, most_tokens), Scripted()
    found = batcher.ask(scorer, [prompt(length) for length in lengths], None)
    batcher.close()
    assert [each[0] for each in found] == lengths
    assert sorted(length for batch in scorer.batches for length in batch) == sorted(lengths)
    for batch in scorer.batches:
        assert len(batch) <= most_questions
        assert len(batch) == 1 or len(batch) * max(batch) <= most_tokens


def test_what_arrives_while_a_batch_runs_is_gathered_into_the_next(batcher: Batcher) -> None:
    gate = threading.Event()
    scorer = Scripted(gate)
    with ThreadPoolExecutor(4) as threads:
        calls = [_asked(threads, batcher, scorer, 1)]
        scorer.begun.acquire()
        calls += [_asked(threads, batcher, scorer, length) for length in (2, 3, 4)]
        _until_waiting(batcher, 3)
        gate.set()
        assert [call.result()[0][0] for call in calls] == [1, 2, 3, 4]
    assert [sorted(batch) for batch in scorer.batches] == [[1], [2, 3, 4]]


def test_questions_of_two_scorers_never_share_a_batch(batcher: Batcher) -> None:
    gate = threading.Event()
    old, new = Scripted(gate), Scripted(gate)
    with ThreadPoolExecutor(4) as threads:
        calls = [_asked(threads, batcher, old, 1)]
        old.begun.acquire()
        for length, scorer in ((2, old), (3, new), (4, new)):
            calls.append(_asked(threads, batcher, scorer, length))
            _until_waiting(batcher, len(calls) - 1)
        gate.set()
        assert [call.result()[0][0] for call in calls] == [1, 2, 3, 4]
    assert (old.batches, new.batches) == ([[1], [2]], [[3, 4]])


def test_who_waits_beyond_the_deadline_is_told_at_once_and_the_question_is_dropped(batcher: Batcher) -> None:
    gate = threading.Event()
    scorer = Scripted(gate)
    with ThreadPoolExecutor(1) as threads:
        first = _asked(threads, batcher, scorer, 1)
        scorer.begun.acquire()
        with pytest.raises(GeneratorFailure) as raised:
            batcher.ask(scorer, [prompt(2)], monotonic() + 0.02)  # while the first is still running
        assert raised.value.reason is Reason.LATE
        gate.set()
        assert first.result()[0][0] == 1
    batcher.ask(scorer, [prompt(3)], None)
    assert scorer.batches == [[1], [3]]


def test_a_late_call_of_several_batches_stops(batcher: Batcher) -> None:
    gate = threading.Event()
    scorer = Scripted(gate)
    with pytest.raises(GeneratorFailure):
        batcher.ask(scorer, [prompt(90), prompt(91), prompt(92)], monotonic() + 0.02)
    gate.set()
    batcher.ask(scorer, [prompt(3)], None)
    assert scorer.batches in ([[90], [3]], [[3]])


def test_only_the_guilty_question_fails(batcher: Batcher) -> None:
    gate = threading.Event()
    scorer = Scripted(gate)
    with ThreadPoolExecutor(4) as threads:
        first = _asked(threads, batcher, scorer, 1)
        scorer.begun.acquire()
        good, bad, also_good = (_asked(threads, batcher, scorer, 2, token) for token in (5, 13, 6))
        _until_waiting(batcher, 3)
        gate.set()
        assert [call.result()[0][0] for call in (first, good, also_good)] == [1, 2, 2]
        with pytest.raises(GeneratorFailure) as raised:
            bad.result()
    assert raised.value.reason is Reason.INTERNAL
    assert "secret" not in str(raised.value)
    assert batcher.ask(scorer, [prompt(3)], None)[0][0] == 3


def test_closing_fails_who_waits_and_who_comes_later(batcher: Batcher) -> None:
    gate = threading.Event()
    scorer = Scripted(gate)
    with ThreadPoolExecutor(3) as threads:
        running = _asked(threads, batcher, scorer, 1)
        scorer.begun.acquire()
        waiting = _asked(threads, batcher, scorer, 2)
        _until_waiting(batcher, 1)
        closing = threads.submit(batcher.close)
        while not batcher._closed:
            pass
        gate.set()
        closing.result()
        assert running.result()[0][0] == 1
        for late in (waiting, _asked(threads, batcher, scorer, 3)):
            with pytest.raises(GeneratorFailure) as raised:
                late.result()
            assert raised.value.reason is Reason.ABSENT


def _asked(
    threads: ThreadPoolExecutor, batcher: Batcher, scorer: Scripted, length: int, token: int = 5
) -> Future[list[Floats]]:
    return threads.submit(batcher.ask, scorer, [prompt(length, token)], None)


def _until_waiting(batcher: Batcher, count: int) -> None:
    until = monotonic() + FOREVER
    while len(batcher._jobs) < count:
        assert monotonic() < until
