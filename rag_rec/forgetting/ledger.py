"""The ledger of erasures: a chain of signed entries, in the store and in a file beside it.

Each entry carries the digest of the one before, so nothing can be changed, taken out, put in or moved without breaking
the chain. Only cutting off its end leaves a whole chain; that shows against the other copy. The digest of an entry is
the SHA-256 over the canonical JSON of ``{body, kind, previous, sequence}``, where ``body`` is text; the signature is
over the digest's 64 hexadecimal digits. No body names anybody.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from rag_rec.errors import BrokenLedger, Busy, NotReady, WrongKey
from rag_rec.forgetting import canonical
from rag_rec.forgetting.signing import Signer, Verifier
from rag_rec.generation import sync_folder
from rag_rec.store.records import LedgerEntry, LedgerTip

EMPTY: Final = LedgerTip(0, "0" * 64)
"""The end of a ledger that holds nothing."""
LOCK_SECONDS = 60.0
_ENTRY: Final = TypeAdapter(LedgerEntry)


def make_entry(tip: LedgerTip, kind: str, body: Mapping[str, Any] | str, signer: Signer) -> LedgerEntry:
    """The signed entry that follows a tip. A ``body`` that is text is canonical JSON already, such as a receipt."""
    sequence, text = tip.sequence + 1, body if isinstance(body, str) else canonical.dumps(body)
    digest = _digest(sequence, kind, text, tip.digest)
    return LedgerEntry(sequence, kind, text, tip.digest, digest, signer.sign(digest.encode()))


def tip_after(entry: LedgerEntry) -> LedgerTip:
    """The end of a ledger whose newest entry this is."""
    return LedgerTip(entry.sequence, entry.digest)


def verify_links(entries: Sequence[LedgerEntry], start: LedgerTip = EMPTY) -> LedgerTip:
    """Check that entries follow a tip, and each other, without a gap. Returns the tip after them.

    Raises:
        BrokenLedger: the first entry that does not is named.
    """
    tip = start
    for entry in entries:
        if (entry.sequence, entry.previous) != (tip.sequence + 1, tip.digest):
            raise _broken(tip.sequence + 1, "does not follow the one before: one was taken out, put in or moved")
        if entry.digest != _digest(entry.sequence, entry.kind, entry.body, entry.previous):
            raise _broken(entry.sequence, "was changed")
        tip = tip_after(entry)
    return tip


def verify_chain(entries: Sequence[LedgerEntry], verifier: Verifier, start: LedgerTip = EMPTY) -> LedgerTip:
    """Check links and signatures of entries that follow a tip. Returns the tip after them.

    Raises:
        BrokenLedger: the first entry that is not as it was signed is named.
        WrongKey: not one of them was signed with this key.
    """
    tip = verify_links(entries, start)
    unsigned = [entry for entry in entries if not _is_signed(entry, verifier)]
    if unsigned and len(unsigned) == len(entries):
        raise _wrong_key(verifier)
    if unsigned:
        raise _broken(unsigned[0].sequence, f"was not signed with the key {verifier.key_id}")
    return tip


def check_key(newest: LedgerEntry | None, verifier: Verifier) -> None:
    """Check that a ledger may go on with a key: that its newest entry, if there is one, was signed with it.

    Raises:
        WrongKey: it was signed with another one. Entries of two keys could be verified with neither.
    """
    if newest is not None and not _is_signed(newest, verifier):
        raise _wrong_key(verifier)


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

    def lag(self, newest: LedgerEntry | None) -> int:
        """How many entries of the ledger that ends so are missing here.

        -1 if the copy cannot be read, or ends with an entry that is not of this ledger.
        """
        end = EMPTY if newest is None else tip_after(newest)
        try:
            here = self.tip()
        except (BrokenLedger, NotReady):
            return -1
        foreign = here.sequence > end.sequence or (here.sequence == end.sequence and here != end)
        return -1 if foreign else end.sequence - here.sequence

    def extend(self, entries: Sequence[LedgerEntry]) -> None:
        """Append those entries that are not there yet, durably.

        Raises:
            BrokenLedger: they do not continue what is there, or differ from it; nothing was written.
            Busy: another process holds the file for too long.
        """
        with self._access():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = Path(f"{self.path}.lock")
            lock.touch(mode=0o600)  # says at once where no file can be made, for which the lock would wait
            with FileLock(lock, timeout=LOCK_SECONDS):
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
        with open(self.path, "ab", opener=_private) as stream:
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_signed(entry: LedgerEntry, verifier: Verifier) -> bool:
    return verifier.verify(entry.digest.encode(), entry.signature)


def _wrong_key(verifier: Verifier) -> WrongKey:
    return WrongKey(
        f"The key {verifier.key_id} is not the key that signed the ledger: give the right one in RAGREC_SIGNING_KEY or "
        "in HOME/keys/signing.key. Nothing was written. If it is the right one, the ledger was changed, which "
        "`rag-rec ledger verify` looks into."
    )


def _digest(sequence: int, kind: str, body: str, previous: str) -> str:
    content = {"sequence": sequence, "kind": kind, "body": body, "previous": previous}
    return hashlib.sha256(canonical.dumps(content).encode()).hexdigest()


def _broken(sequence: int, how: str) -> BrokenLedger:
    return BrokenLedger(
        f"Entry {sequence} of the ledger {how}. Keep this ledger as evidence, and restore the store or the file from "
        "its other copy."
    )
