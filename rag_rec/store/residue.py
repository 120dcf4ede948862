"""Zeroes what SQLite leaves behind in the unallocated part of its pages.

``PRAGMA secure_delete`` overwrites what is deleted. But when SQLite rebalances a tree it packs the cells of a page anew
and leaves their earlier copies between the cell pointers and the cells. If such a row is deleted later, only the row
is overwritten, not the copy (measured: one deleted user in fifty could still be found in the file). The file format
declares this gap unallocated (https://www.sqlite.org/fileformat2.html, section 1.6), so that zeroing it changes nothing
that SQLite reads. It may only be done while the caller holds the write lock and the write-ahead log is empty, because
then the file alone is the truth, and nobody writes to it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

_LEAF_HEADER, _INTERIOR_HEADER = 8, 12
_HEADER_BYTES = {2: _INTERIOR_HEADER, 5: _INTERIOR_HEADER, 10: _LEAF_HEADER, 13: _LEAF_HEADER}
_LOCK_BYTE = 2**30  # the page at this offset is never used
_PAGES_PER_READ = 256
MAX_PAGES = 2**25  # beyond it, the first byte of an overflow page could look like a tree page's


class _Descriptors:
    """One descriptor for each database file, shared by all stores of this process.

    POSIX drops every lock that a process holds on a file as soon as *any* of its descriptors of that file is closed.
    A descriptor is therefore kept open until the last store on the file has been closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[int, int]] = {}

    def acquire(self, path: Path) -> int:
        """The descriptor of a file; every call needs one :meth:`release`."""
        key = str(path.resolve())
        with self._lock:
            descriptor, holders = self._open.get(key) or (os.open(key, os.O_RDWR), 0)
            self._open[key] = (descriptor, holders + 1)
            return descriptor

    def release(self, path: Path) -> None:
        """Give a descriptor back, after the connections to the file were closed."""
        key = str(path.resolve())
        with self._lock:
            descriptor, holders = self._open.pop(key)
            if holders > 1:
                self._open[key] = (descriptor, holders - 1)
            else:
                os.close(descriptor)


descriptors = _Descriptors()


def zero_residue(descriptor: int, page_bytes: int) -> int:
    """Overwrite the unallocated gaps of every tree page with zeros. Returns how many pages had anything there."""
    cleaned = 0
    size = os.fstat(descriptor).st_size
    for start in range(0, size, page_bytes * _PAGES_PER_READ):
        block = os.pread(descriptor, page_bytes * _PAGES_PER_READ, start)
        for first, stop in _dirty_gaps(block, start // page_bytes, page_bytes):
            os.pwrite(descriptor, bytes(stop - first), start + first)
            cleaned += 1
    if cleaned:
        os.fsync(descriptor)
    return cleaned


def _dirty_gaps(block: bytes, first_page: int, page_bytes: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, len(block) - page_bytes + 1, page_bytes):
        header = _HEADER_BYTES.get(block[offset])
        if header is None or _holds_no_tree(first_page + offset // page_bytes, page_bytes):
            continue
        cells = int.from_bytes(block[offset + 3 : offset + 5], "big")
        content = int.from_bytes(block[offset + 5 : offset + 7], "big") or 65536
        first, stop = offset + header + 2 * cells, offset + content
        if content <= page_bytes and block[first:stop].strip(b"\0"):
            yield first, stop


def _holds_no_tree(page: int, page_bytes: int) -> bool:
    """Whether page number ``page`` (from 0) is the schema's, a map of page pointers, or the one with the lock byte."""
    # Maps lie at page 1 (from 0) and then after every page_bytes / 5 pages that they describe.
    return page == 0 or (page - 1) % (page_bytes // 5 + 1) == 0 or page == _LOCK_BYTE // page_bytes
