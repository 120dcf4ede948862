"""The copy of the ledger in a file beside the store: one entry a line, extended durably by one process at a time."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from rag_rec.artifacts.private import FILE_MODE, make_private_folder, private_opener, sync_folder
from rag_rec.errors import BrokenLedger, Busy, NotReady
from rag_rec.forgetting.ledger import canonical
from rag_rec.forgetting.ledger.chain import EMPTY, tip_after, verify_links
from rag_rec.store.records import LedgerEntry, LedgerTip

LOCK_SECONDS = 60.0
_ENTRY: Final = TypeAdapter(LedgerEntry)


class StoredLedger(Protocol):
    """The ledger as the store has it."""

    def newest_entry(self) -> LedgerEntry | None:
        """Its end, None while it is empty."""

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        """The entry of this number, None if there is none."""


class LedgerFile:
    """A copy of the ledger in a file, one entry a line. Several processes may extend it: they take turns.

    Every method raises ``NotReady`` when the file cannot be read or written, and ``BrokenLedger`` when a line in it is
    not an entry. A last line without its end is what a crash left of an entry that was never acknowledged: it is
    dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[LedgerEntry]:
        """All entries, unchecked; none if there is no file."""
        with self._access():
            whole = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        return [self._entry(line) for line in whole]

    def tip(self) -> LedgerTip:
        """The end of the ledger. Reads only the last line."""
        newest = self._newest()
        return tip_after(newest) if newest else EMPTY

    @property
    def sequence(self) -> int:
        """Number of the newest entry, 0 if there is none."""
        return self.tip().sequence

    def lag(self, stored: StoredLedger) -> int:
        """How many entries of the store's ledger are missing here.

        -1 if the copy cannot be read, or its last entry is not the store's. Reads one entry here, two there at most.
        """
        try:
            here = self._newest()  # before the store's, which is always the first to be extended
        except (BrokenLedger, NotReady):
            return -1
        if here is not None and stored.ledger_entry(here.sequence) != here:
            return -1
        end = stored.newest_entry()
        return (end.sequence if end else 0) - (here.sequence if here else 0)

    def extend(self, entries: Sequence[LedgerEntry]) -> None:
        """Append those entries that are not there yet, durably.

        Raises:
            BrokenLedger: they do not continue what is there, or differ from it; nothing was written.
            Busy: another process holds the file for too long.
        """
        with self._access():
            make_private_folder(self.path.parent)
            lock = Path(f"{self.path}.lock")
            lock.touch(mode=FILE_MODE)  # says at once where no file can be made, for which the lock would wait
            with FileLock(lock, timeout=LOCK_SECONDS, mode=FILE_MODE):
                tip = self.tip()
                self._compare([entry for entry in entries if entry.sequence <= tip.sequence])
                newer = [entry for entry in entries if entry.sequence > tip.sequence]
                verify_links(newer, tip)
                self._append(newer)

    def _compare(self, entries: Sequence[LedgerEntry]) -> None:
        here = {entry.sequence: entry for entry in self._holding(entries)}
        for entry in entries:
            if here[entry.sequence] != entry:
                raise BrokenLedger(
                    f"Entry {entry.sequence} of the ledger is not the same in the store and in {self.path}: the file "
                    "was changed or is another store's, or the store was restored without `rag-rec restore`. Run "
                    "`rag-rec ledger verify`, move the file away as evidence, and write a new one with `rag-rec ledger "
                    "export`."
                )

    def _holding(self, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
        """What is here under the numbers of these entries, and perhaps more: for the newest the last line suffices."""
        newest = self._newest()
        if newest and [entry.sequence for entry in entries] == [newest.sequence]:
            return [newest]
        return self.read() if entries else []

    def _newest(self) -> LedgerEntry | None:
        with self._access():
            line, _ = self._last_line()
        return self._entry(line) if line else None

    def _append(self, entries: Sequence[LedgerEntry]) -> None:
        lines = "".join(canonical.dumps(asdict(entry)) + "\n" for entry in entries)
        _, end = self._last_line()
        with open(self.path, "ab", opener=private_opener) as stream:
            stream.truncate(end)
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(self.path.parent)

    def _last_line(self) -> tuple[bytes, int]:
        """The last whole line, and where it ends; nothing and 0 if there is none."""
        if not self.path.exists() or not self.path.stat().st_size:
            return b"", 0
        with self.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
            start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
            return content[start:end], end

    def _entry(self, line: bytes) -> LedgerEntry:
        try:
            return _ENTRY.validate_json(line, strict=True)
        except ValidationError:
            raise BrokenLedger(
                f"A line of {self.path} is not an entry of the ledger. Keep the file as evidence, and write a new one "
                "with `rag-rec ledger export`."
            ) from None

    @contextmanager
    def _access(self) -> Iterator[None]:
        try:
            yield
        except Timeout:
            raise Busy(f"Another process holds {self.path} for too long: end it, and try again.") from None
        except OSError as error:
            raise NotReady(
                f"The copy of the ledger at {self.path} cannot be used ({error.strerror}): check disk and rights, or "
                "set RAGREC_LEDGER_COPY."
            ) from None
