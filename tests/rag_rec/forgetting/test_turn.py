from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from rag_rec.errors import Busy
from rag_rec.forgetting import turn as module
from rag_rec.forgetting.turn import LOCK, Turn


@pytest.fixture
def threads() -> threading.RLock:
    return threading.RLock()


def test_it_is_not_got_while_another_thread_of_this_process_has_it(tmp_path: Path, threads: threading.RLock) -> None:
    def got() -> bool:
        with Turn(tmp_path, threads).taken_if_free() as mine:
            return mine

    with ThreadPoolExecutor(1) as other:
        with Turn(tmp_path, threads).taken():
            assert not other.submit(got).result(30)
        assert other.submit(got).result(30)


def test_another_process_is_waited_for_and_then_reported(
    tmp_path: Path, threads: threading.RLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.01)
    turn = Turn(tmp_path, threads)
    with FileLock(tmp_path / LOCK):
        with pytest.raises(Busy), turn.taken():
            pass
        with turn.taken_if_free() as mine:
            assert not mine
    with turn.taken_if_free() as mine:
        assert mine


def test_it_is_given_back_after_an_error(tmp_path: Path, threads: threading.RLock) -> None:
    turn = Turn(tmp_path, threads)
    for hold in (turn.taken, turn.taken_if_free):
        with pytest.raises(ZeroDivisionError), hold():
            raise ZeroDivisionError
    with turn.taken_if_free() as mine:
        assert mine
