"""The turn of a data folder: removals in it take place one at a time, across threads and processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from rag_rec.artifacts.private import FILE_MODE, make_private_folder
from rag_rec.errors import Busy

LOCK: Final = ".forget.lock"
LOCK_SECONDS: Final = 60.0


class Turn:
    """Whose turn it is.

    Args:
        home: the data folder.
        threads: shared by the turns of a process.
    """

    def __init__(self, home: Path, threads: threading.RLock) -> None:
        self._home = home
        self._threads = threads
        self._processes = FileLock(home / LOCK, timeout=LOCK_SECONDS, mode=FILE_MODE)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and hold it. Raises ``Busy`` where another process holds it for too long."""
        make_private_folder(self._home)
        try:
            with self._threads, self._processes:
                yield
        except Timeout:
            raise Busy("Another process is forgetting a person; try again when it has finished.") from None

    @contextmanager
    def taken_if_free(self) -> Iterator[bool]:
        """Hold the turn if it is free: whether it was got. Waits for nothing."""
        self._home.mkdir(parents=True, exist_ok=True)
        if not self._threads.acquire(blocking=False):
            yield False
            return
        try:
            got = self._got()
            try:
                yield got
            finally:
                if got:
                    self._processes.release()
        finally:
            self._threads.release()

    def _got(self) -> bool:
        try:
            self._processes.acquire(timeout=0)
        except Timeout:
            return False
        return True
