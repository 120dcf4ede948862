"""Opens files that may be compressed, and takes their digest."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar, TextIO, cast

from indexer.sources.bounds import bounded
from rag_rec.errors import InvalidInput

_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Content:
    """A file's digest and how many lines it has."""

    digest: str
    lines: int


@dataclass(frozen=True, slots=True)
class File:
    """A file's name and how to open it for reading bytes."""

    name: str
    open: Callable[[], BinaryIO]

    @classmethod
    def at(cls, path: Path) -> File:
        """A file on disk, compressed with gzip or not."""
        if not path.is_file():
            raise InvalidInput(f"There is no file {path}.")
        return cls(path.name, lambda: opened(path))

    def content(self) -> Content:
        """Read the file once and describe it."""
        digest, lines = hashlib.sha256(), 0
        with readable(self.name), self.open() as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                lines += chunk.count(b"\n")
        return Content(digest.hexdigest(), lines)

    @contextmanager
    def text(self, encoding: str) -> Iterator[TextIO]:
        """The file as text; bytes that are not of the encoding come as surrogates, for the reader to reject."""
        with readable(self.name), self.open() as stream:
            yield io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")


class LineFile:
    """What the sources that read one file line by line share: its name, its digest and its number of rows."""

    file: File
    header_lines: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.file.name

    @cached_property
    def content(self) -> Content:
        """Digest and number of lines."""
        return self.file.content()

    @property
    def digest(self) -> str:
        """Digest of the content."""
        return self.content.digest

    @property
    def rows(self) -> int:
        """Lines but for the header."""
        return max(self.content.lines - self.header_lines, 0)


def opened(path: Path) -> BinaryIO:
    """A file's bytes, or what they unpack to if they are gzip, up to the bound."""
    stream = path.open("rb")
    magic = stream.read(2)
    stream.seek(0)
    if magic != _GZIP_MAGIC:
        return stream
    return bounded(cast(BinaryIO, _Unpacked(stream)), path.stat().st_size, path.name)


class _Unpacked(gzip.GzipFile):
    """Unpacks a stream, and closes it with itself."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn the errors of a truncated or unreadable file into one that says so."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error):
        raise InvalidInput(
            f"{name} is a truncated or damaged archive. What came before the damage is stored; "
            "get the file again and repeat the command."
        ) from None
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}.") from None


def is_unicode(cells: list[str]) -> bool:
    """Whether the cells came from valid bytes."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True
