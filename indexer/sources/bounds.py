"""Bounds of what a file may unpack to and of one row, so that a small file cannot fill the memory.

The bounds hold for hostile files; real ones stay far below them, however large they are: text packs by a factor of
5 to 30, and a row is a few kilobytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, AnyStr, BinaryIO, Final, Generic, cast

from rag_rec.errors import InvalidInput

MOST_UNPACKED: Final = 200
"""A compressed file may unpack to so many times its size."""

ALWAYS_UNPACKED: Final = 64 << 20
"""Bytes that it may unpack to however small it is."""

LONGEST_ROW: Final = 4 << 20
"""Characters of one row (bytes, where lines are JSON); a row of CSV may span lines."""

LARGEST_BATCH: Final = 64 << 20
"""Characters of the rows that are held at once; a batch ends before it has its number of rows where they are long."""

MOST_COLUMNS: Final = 1_000
"""Columns of a file with a header."""

MOST_CELLS: Final = 20_000_000
"""Cells of a batch of objects: its rows times all the names that occur in them."""


class Bounded(io.RawIOBase):
    """What a compressed stream unpacks to, up to the bound.

    Args:
        unpacked: the stream; it is closed with this one.
        packed_bytes: the size of what it unpacks.
        name: of the file, for the message.
    """

    def __init__(self, unpacked: BinaryIO, packed_bytes: int, name: str) -> None:
        self._unpacked = unpacked
        self._name = name
        self._left = max(ALWAYS_UNPACKED, MOST_UNPACKED * packed_bytes)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; as little as the stream gives at once. Raises ``InvalidInput`` beyond the bound."""
        chunk = self._unpacked.read(len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise InvalidInput(
                f"{self._name} unpacks to more than {MOST_UNPACKED} times its size: it is damaged, or made to do harm. "
                "If it is what you want, unpack it yourself and give the file."
            )
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Close the stream, too."""
        if not self.closed:
            self._unpacked.close()
        super().close()


def bounded(unpacked: BinaryIO, packed_bytes: int, name: str) -> BinaryIO:
    """What a compressed stream unpacks to, buffered, up to the bound."""
    return cast(BinaryIO, io.BufferedReader(Bounded(unpacked, packed_bytes, name), 1 << 18))


class Lines(Generic[AnyStr]):
    """The lines of a stream, each with its end. A row that grows beyond :data:`LONGEST_ROW` ends the reading.

    ``row`` and ``batch`` are the lengths of the present row and of the present batch; the one who reads them begins a
    new one by setting it to 0.
    """

    def __init__(self, stream: IO[AnyStr], name: str) -> None:
        self._stream: IO[AnyStr] = stream
        self._name = name
        self.row = 0
        self.batch = 0

    def __iter__(self) -> Iterator[AnyStr]:
        while line := self._stream.readline(LONGEST_ROW + 1):
            self.row += len(line)
            self.batch += len(line)
            if self.row > LONGEST_ROW:
                raise InvalidInput(
                    f"{self._name} has a row of more than {LONGEST_ROW >> 20} MiB: it is damaged, or not in the format "
                    "that --format names. Put it right, and repeat the command."
                )
            yield line

    @property
    def enough(self) -> bool:
        """Whether the present batch is as large as one may be."""
        return self.batch >= LARGEST_BATCH
