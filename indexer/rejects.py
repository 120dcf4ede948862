"""The file that lists the rows which were not stored, one JSON object on each line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import orjson

from indexer.sources.batch import Reject
from rag_rec.artifacts.private import make_private_folder, private_opener
from rag_rec.errors import InvalidInput


class RejectsFile:
    """Appends rejects durably, and starts where the last checkpoint was taken. No reject, no file."""

    def __init__(self, path: Path, kept: int = 0) -> None:
        """Keep the first ``kept`` rejects of an interrupted run, and drop any that were written after them."""
        self.path = path
        self._drop_after(kept)

    def append(self, rejects: Sequence[Reject]) -> None:
        """Write rejects so that they survive a crash."""
        if not rejects:
            return
        rows = b"".join(orjson.dumps({"line": reject.line, "reason": reject.reason}) + b"\n" for reject in rejects)
        try:
            make_private_folder(self.path.parent)
            with open(self.path, "ab", opener=private_opener) as stream:
                stream.write(rows)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise InvalidInput(f"The rejects file {self.path} cannot be written: {error.strerror}.") from None

    def _drop_after(self, kept: int) -> None:
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise InvalidInput(f"{self.path} is not a file; give another one for the rejects.")
        if not _lists_rejects(self.path):
            raise InvalidInput(f"{self.path} exists and is no list of rejects; give another file for them.")
        if kept == 0:
            self.path.unlink()
            return
        with self.path.open("rb+") as stream:
            for _ in range(kept):
                stream.readline()
            stream.truncate(stream.tell())


def first_rejects(path: Path, count: int) -> list[Reject]:
    """The first rows of a rejects file."""
    with path.open("rb") as stream:
        return [Reject(**orjson.loads(line)) for line in islice(stream, count)]


def _lists_rejects(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.readline()
    try:
        return not first or set(orjson.loads(first)) == {"line", "reason"}
    except (orjson.JSONDecodeError, TypeError):
        return False
