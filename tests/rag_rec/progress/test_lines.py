"""Lines of a job, by a clock that the test turns."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rag_rec.progress import lines
from rag_rec.progress.lines import BETWEEN_SECONDS, FIRST_SECONDS, Lines


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Job:
    """A job whose lines are kept, and whose thread never beats by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "BEAT_SECONDS", 3600.0)
        self.clock = Clock()
        self.said: list[dict[str, Any]] = []
        self.lines = Lines("index build", self._say, self.clock)

    def _say(self, event: str, **fields: Any) -> None:
        self.said.append({"event": event, **fields})


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(monkeypatch)


def test_a_quick_job_says_nothing(job: Job) -> None:
    with job.lines as told:
        told.stage("item vectors", 100)
        told.advance(100)
        job.clock.now += FIRST_SECONDS / 2
        told.stage("people", 4)
    assert job.said == []


def test_the_first_line_comes_within_seconds_and_then_one_every_half_minute(job: Job) -> None:
    with job.lines as told:
        told.stage("item vectors", 1_000)
        for _ in range(65):
            job.clock.now += 1
            told.advance(10)
    times = [line["seconds"] for line in job.said]
    assert times == [FIRST_SECONDS, FIRST_SECONDS + BETWEEN_SECONDS, FIRST_SECONDS + 2 * BETWEEN_SECONDS, 65]
    assert job.said[1] == {
        "event": "progress",
        "job": "index build",
        "stage": "item vectors",
        "done": 330,
        "total": 1_000,
        "percent": 33,
        "per_second": 10.0,
        "rest_seconds": 67,
        "seconds": 33.0,
    }
    assert job.said[-1] == {"event": "done", "job": "index build", "stage": "item vectors", "seconds": 65.0}


def test_a_change_of_stage_is_said_at_once(job: Job) -> None:
    with job.lines as told:
        told.stage("item vectors", 10)
        job.clock.now += FIRST_SECONDS
        told.stage("people", 7)
        told.stage("reader", 0)
    assert [(line["stage"], line["done"], line.get("total")) for line in job.said[:2]] == [
        ("people", 0, 7),
        ("reader", 0, None),
    ]


def test_a_job_that_tells_nothing_is_said_to_live(job: Job) -> None:
    with job.lines as told:
        job.clock.now += FIRST_SECONDS
        told.tick()
        job.clock.now += BETWEEN_SECONDS
        told.tick()
        told.tick()
    assert [(line["event"], line["stage"]) for line in job.said] == [
        ("progress", "starting"),
        ("progress", "starting"),
        ("done", "starting"),
    ]


def test_the_thread_beats_while_nothing_is_told_and_ends_with_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BEAT_SECONDS", 0.001)
    monkeypatch.setattr(lines, "FIRST_SECONDS", 0.0)
    spoken = threading.Event()
    before = threading.active_count()
    with Lines("index build", lambda *_, **__: spoken.set()):
        assert spoken.wait(30)
    assert threading.active_count() == before


@pytest.mark.parametrize(("error", "word"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_the_last_line_says_how_it_ended(job: Job, error: type[BaseException], word: str) -> None:
    with pytest.raises(error), job.lines as told:
        job.clock.now += FIRST_SECONDS
        told.stage("people", 5)
        raise error
    assert job.said[-1]["event"] == word


def test_lines_are_logfmt_on_stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_SECONDS", 0.0)
    with Lines("index build") as told:
        told.stage("item vectors", 4)
    written = capsys.readouterr()
    assert written.out == ""
    assert 'event=progress job="index build" stage="item vectors" done=0 total=4' in written.err
