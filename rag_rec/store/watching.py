"""Notices that the store is not the one any more that was opened: its file or folder removed, replaced, unmounted.

A process that goes on with an open file after that writes what is never read.
"""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Any

from rag_rec.errors import IncompatibleStore
from rag_rec.store.faults import lost
from rag_rec.store.residue import descriptors


class FileWatch:
    """Compares the file at a path with the one that was opened there.

    The open descriptor keeps the file's number on the disk from being given to another one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.descriptor = descriptors.acquire(path)
        except OSError as error:
            raise IncompatibleStore(f"The store's file cannot be opened: {error.strerror}.") from None
        self._known = _number(os.fstat(self.descriptor))

    def check(self) -> None:
        """Raise ``StoreLost`` unless the path still leads to the file that was opened. Takes microseconds."""
        try:
            found = _number(self._path.stat())
        except OSError as error:
            raise lost(str(self._path), f"its file is gone: {error.strerror}") from None
        if found != self._known:
            raise lost(str(self._path), "another file lies in its place")

    def close(self) -> None:
        """Give the descriptor back, after the connections to the file were closed."""
        descriptors.release(self.descriptor)


def is_stale(connection: Any) -> bool:
    """Whether an idle connection to PostgreSQL has ended: then, and only then, there is something to read on it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _number(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
