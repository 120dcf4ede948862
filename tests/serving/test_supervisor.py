"""The supervisor with workers and a clock of the test: what it starts, replaces and ends, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.logs import open_log
from serving.supervisor import (
    LONGEST_RETRY_SECONDS,
    PATIENCE_SECONDS,
    RETRY_SECONDS,
    SOUND_SECONDS,
    Ended,
    Event,
    Order,
    Ready,
    Supervisor,
)


@dataclass(eq=False)
class Fake:
    """A worker that does nothing by itself."""

    number: int
    pid: int
    told_to_end: bool = False
    killed: bool = False

    def end(self) -> None:
        self.told_to_end = True

    def kill(self) -> None:
        self.killed = True


@dataclass
class Stage:
    """A supervisor, the workers that it has started, and the time."""

    count: int = 2
    recycle: float | None = None
    now: float = 0.0
    started: list[Fake] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.start, self.count, open_log(BytesIO()), self.recycle, lambda: self.now)
        assert not self.step()

    def start(self, number: int, early: bool, tell: Callable[[Event], None]) -> Fake:  # noqa: ARG002 - a seam
        self.started.append(Fake(number, 1000 + len(self.started)))
        return self.started[-1]

    def step(self, event: Event | None = None) -> bool:
        return self.supervisor.step(event)

    def all_ready(self) -> None:
        for worker in list(self.started):
            self.step(Ready(worker))

    @property
    def serving(self) -> list[Fake]:
        return [worker for worker in self.started if not worker.told_to_end]


def test_one_worker_is_started_for_each_place() -> None:
    assert [worker.number for worker in Stage(3).started] == [1, 2, 3]


def test_a_worker_that_was_killed_is_replaced_after_a_delay_that_grows() -> None:
    stage = Stage(1)
    stage.all_ready()
    for failure in range(10):
        worker = stage.started[-1]
        stage.step(Ended(worker, -9))
        delay = min(LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2**failure)
        stage.now += delay * 0.99
        stage.step()
        assert stage.started[-1] is worker
        stage.now += delay * 0.02
        stage.step()
        assert stage.started[-1] is not worker


def test_a_worker_that_was_sound_for_long_is_replaced_at_once() -> None:
    stage = Stage(1)
    stage.all_ready()
    stage.now += SOUND_SECONDS
    stage.step(Ended(stage.started[0], -9))
    assert len(stage.started) == 2


def test_replacements_come_one_after_the_other_and_each_is_ready_before_the_old_one_ends() -> None:
    stage = Stage(2)
    stage.all_ready()
    first, second = stage.started
    stage.step(Order(end=False))
    third = stage.started[-1]
    assert (len(stage.started), first.told_to_end, second.told_to_end) == (3, False, False)
    stage.step(Ready(third))
    assert (first.told_to_end, second.told_to_end, len(stage.started)) == (True, False, 3)
    stage.step(Ended(first, 0))
    assert len(stage.started) == 4
    stage.step(Ready(stage.started[-1]))
    assert second.told_to_end


def test_a_replacement_that_fails_leaves_the_old_one_at_work() -> None:
    stage = Stage(1)
    stage.all_ready()
    stage.step(Order(end=False))
    stage.step(Ended(stage.started[1], 1))
    assert not stage.started[0].told_to_end
    stage.now += RETRY_SECONDS
    stage.step()
    assert len(stage.started) == 3
    stage.step(Ready(stage.started[2]))
    assert stage.started[0].told_to_end


def test_a_replacement_that_fails_is_tried_again_later_also_where_the_old_one_was_sound() -> None:
    stage = Stage(1)
    stage.all_ready()
    stage.now += SOUND_SECONDS
    stage.step(Order(end=False))
    stage.step(Ended(stage.started[1], 1))
    assert len(stage.started) == 2
    stage.now += RETRY_SECONDS
    stage.step()
    assert len(stage.started) == 3


def test_a_replacement_takes_over_from_a_worker_that_dies_meanwhile() -> None:
    stage = Stage(1)
    stage.all_ready()
    stage.step(Order(end=False))
    stage.step(Ended(stage.started[0], -9))
    stage.step(Ready(stage.started[1]))
    stage.now += LONGEST_RETRY_SECONDS
    stage.step()
    assert (len(stage.started), stage.started[1].told_to_end) == (2, False)


def test_workers_are_replaced_when_they_are_old_enough() -> None:
    stage = Stage(1, recycle=100.0)
    stage.all_ready()
    stage.now = 99.0
    stage.step()
    assert len(stage.started) == 1
    stage.now = 100.0
    stage.step()
    assert len(stage.started) == 2


def test_one_that_does_not_end_is_killed() -> None:
    stage = Stage(1)
    stage.all_ready()
    stage.step(Order(end=True))
    stage.now += PATIENCE_SECONDS
    stage.step()
    assert not stage.started[0].killed
    stage.now += 1
    stage.step()
    assert stage.started[0].killed


def test_all_is_over_when_all_have_ended() -> None:
    stage = Stage(2)
    stage.all_ready()
    assert not stage.step(Order(end=True))
    assert not stage.step(Ended(stage.started[0], 0))
    assert stage.step(Ended(stage.started[1], 0))


def test_a_first_worker_that_says_that_it_cannot_ends_all() -> None:
    stage = Stage(2)
    stage.step(Ended(stage.started[0], 1))
    assert stage.started[1].told_to_end
    assert stage.step(Ended(stage.started[1], 0))
    assert len(stage.started) == 2


@pytest.mark.parametrize("count", [1, 3])
@given(st.data())
def test_whatever_happens_no_place_is_empty_for_long_or_taken_twice(count: int, data: st.DataObject) -> None:
    stage = Stage(count)
    stage.all_ready()
    gone: set[int] = set()
    for _ in range(data.draw(st.integers(0, 30))):
        alive = [worker for worker in stage.started if worker.pid not in gone]
        kind = data.draw(st.sampled_from(["ready", "end", "replace", "wait"]))
        if kind == "replace":
            stage.step(Order(end=False))
        elif kind == "wait":
            stage.now += LONGEST_RETRY_SECONDS
            stage.step()
        elif alive:
            worker = data.draw(st.sampled_from(alive))
            if kind == "end":
                gone.add(worker.pid)
            stage.step(Ready(worker) if kind == "ready" else Ended(worker, -9))
    stage.now += LONGEST_RETRY_SECONDS
    stage.step()
    numbers = [worker.number for worker in stage.serving if worker.pid not in gone]
    assert set(numbers) == set(range(1, count + 1))
    assert all(numbers.count(number) <= 2 for number in numbers)  # the one that answers, and the one to take over
