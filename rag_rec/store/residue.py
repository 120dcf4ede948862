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

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]

_LEAF_HEADER, _INTERIOR_HEADER = 8, 12
_HEADER_BYTES = np.zeros(256, dtype=np.int64)  # by the page's first byte; 0 is no page of a tree
_HEADER_BYTES[[2, 5]], _HEADER_BYTES[[10, 13]] = _INTERIOR_HEADER, _LEAF_HEADER
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
        self._open: dict[tuple[int, int], tuple[int, int]] = {}

    def acquire(self, path: Path) -> int:
        """The descriptor of the file that a path leads to now; every call needs one :meth:`release`."""
        with self._lock:
            key = _number(path.stat())
            if key in self._open:
                descriptor, holders = self._open[key]
            else:
                descriptor, holders = os.open(path, os.O_RDWR), 0
                key = _number(os.fstat(descriptor))  # another file may have taken the place in between
            self._open[key] = (descriptor, holders + 1)
            return descriptor

    def release(self, descriptor: int) -> None:
        """Give a descriptor back, after the connections to the file were closed."""
        with self._lock:
            key = _number(os.fstat(descriptor))
            _, holders = self._open.pop(key)
            if holders > 1:
                self._open[key] = (descriptor, holders - 1)
            else:
                os.close(descriptor)


def _number(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


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
    """Where in a block of whole pages gaps begin and end that hold anything but zeros.

    A few array operations for all pages, which leave the interpreter to other threads: answers are made meanwhile.
    """
    count = len(block) // page_bytes
    content = np.frombuffer(block, dtype=np.uint8, count=count * page_bytes)
    first, stop = _gaps(content.reshape(count, page_bytes), first_page)
    if not len(first):
        return
    bounds = np.stack([first, stop], axis=1).ravel()
    inside = bounds[:-1] if bounds[-1] == len(content) else bounds  # the end of the content bounds the last gap anyway
    dirty = np.bitwise_or.reduceat(content, inside)[::2] > 0
    yield from zip(first[dirty].tolist(), stop[dirty].tolist(), strict=True)


def _gaps(pages: npt.NDArray[np.uint8], first_page: int) -> tuple[Offsets, Offsets]:
    """Where the gaps of tree pages begin and end, as offsets from the first byte of ``pages``, uint8 [n, page]."""
    page_bytes = pages.shape[1]
    header = pages[:, :_LEAF_HEADER].astype(np.int64)
    cells, content = 256 * header[:, 3] + header[:, 4], 256 * header[:, 5] + header[:, 6]
    first, stop = _HEADER_BYTES[header[:, 0]] + 2 * cells, np.where(content == 0, 65536, content)
    trees = (_HEADER_BYTES[header[:, 0]] > 0) & ~_holds_no_tree(first_page + np.arange(len(pages)), page_bytes)
    chosen = np.flatnonzero(trees & (first < stop) & (stop <= page_bytes))
    return chosen * page_bytes + first[chosen], chosen * page_bytes + stop[chosen]


def _holds_no_tree(page: Offsets, page_bytes: int) -> npt.NDArray[np.bool_]:
    """Whether pages (numbers from 0) are the schema's, a map of page pointers, or the one with the lock byte."""
    # Maps lie at page 1 (from 0) and then after every page_bytes / 5 pages that they describe.
    maps = (page - 1) % (page_bytes // 5 + 1) == 0
    holds: npt.NDArray[np.bool_] = (page == 0) | maps | (page == _LOCK_BYTE // page_bytes)
    return holds
