"""Backups: one file with every row that makes up a store, the same for SQLite and PostgreSQL.

A backup is a tar archive of Parquet parts, each a batch of one table's rows, and a last member ``manifest.json`` that
names every part with its SHA-256 and says how far change log and ledger had come. The manifest is signed with the
system's key. No key is in a backup.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal

import polars as pl
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Table

from rag_rec.artifacts.destruction import remove
from rag_rec.artifacts.private import sync_folder
from rag_rec.errors import IncompatibleStore, InvalidInput, WrongKey
from rag_rec.forgetting.ledger import canonical
from rag_rec.forgetting.ledger.chain import EMPTY
from rag_rec.identity.signing import Signer, Verifier
from rag_rec.store.archive import ARCHIVED, Snapshot, snapshot
from rag_rec.store.database import Database
from rag_rec.store.migration import HEAD, SAME_ROWS
from rag_rec.store.records import LedgerEntry, LedgerTip
from rag_rec.store.schema import counters, identity, ledger

FORMAT: Final = "rag-rec/backup/1"
MANIFEST: Final = "manifest.json"

Advance = Callable[[int], None]
"""Told how many rows were written or read."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member of the archive: some rows of a table."""

    name: str
    table: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        format: of the archive.
        schema: revision of the store's tables.
        created: ISO 8601, UTC.
        epoch: the change up to which it is complete.
        ledger: the end of the ledger at that moment: what was forgotten later has to be replayed.
        pseudonym_key: id of the key by which forgotten people are recognised.
        key: id of the key that signed it.
        parts: in order.
    """

    format: Literal["rag-rec/backup/1"]
    schema: str
    created: str
    epoch: int
    ledger: LedgerTip
    pseudonym_key: str
    key: str
    parts: tuple[Part, ...]

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return {table.name: sum(part.rows for part in self.parts if part.table == table.name) for table in ARCHIVED}


@dataclass(frozen=True, slots=True)
class _Signed:
    manifest: BackupManifest
    signature: str


_SIGNED: Final = TypeAdapter(_Signed)


def write_backup(
    target: Path, database: Database, pseudonym_key: str, signer: Signer, advance: Advance = lambda _: None
) -> BackupManifest:
    """Back up a store that may be in use. The file appears when it is whole, and only its owner can read it.

    Args:
        target: a file that does not exist yet.
        database: the store's.
        pseudonym_key: id of the system's pseudonym key.
        signer: signs the manifest.
        advance: told of the rows written.

    Raises:
        InvalidInput: the file exists, or cannot be written.
    """
    if target.exists():
        raise InvalidInput(f"{target} exists: name another file, or remove it first.")
    try:
        with _aside(target) as stream, tarfile.open(fileobj=stream, mode="w") as archive, snapshot(database) as state:
            manifest = _write(archive, state, pseudonym_key, signer, advance)
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}.") from None
    return manifest


class Backup:
    """A backup that is read. Its manifest has been checked; each part is checked when it is read."""

    def __init__(self, archive: tarfile.TarFile, manifest: BackupManifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def verify(self) -> None:
        """Read every part and check it. Raises ``InvalidInput`` if one was changed."""
        for part in self.manifest.parts:
            self._content(part)

    def frames(self, table: Table) -> Iterator[pl.DataFrame]:
        """All rows of a table, part by part. Raises ``InvalidInput`` if a part was changed."""
        for part in self.manifest.parts:
            if part.table == table.name:
                yield pl.read_parquet(io.BytesIO(self._content(part)))

    def ledger(self) -> list[LedgerEntry]:
        """The ledger as it was."""
        return [LedgerEntry(*row) for frame in self.frames(ledger) for row in frame.iter_rows()]

    def counters(self) -> dict[str, int]:
        """The store's counters as they were."""
        return dict(row for frame in self.frames(counters) for row in frame.iter_rows())

    def identity(self) -> str | None:
        """The store's id; None in a backup from before stores had one."""
        return next((value for frame in self.frames(identity) for _, value in frame.iter_rows()), None)

    def _content(self, part: Part) -> bytes:
        content = _member(self._archive, part.name)
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise _spoilt(f"{part.name} was changed")
        return content


@contextmanager
def open_backup(path: Path, verifier: Verifier) -> Iterator[Backup]:
    """A backup for as long as the context lasts.

    Raises:
        InvalidInput: there is no such file, it is something else, was cut short or was changed.
        WrongKey: it was signed with another key.
        IncompatibleStore: another version of the product wrote it.
    """
    try:
        archive = tarfile.open(path, "r:")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {path}.") from None
    except (OSError, tarfile.TarError):
        raise _spoilt("it cannot be read") from None
    with archive:
        yield Backup(archive, _read_manifest(archive, verifier))


def _write(
    archive: tarfile.TarFile, state: Snapshot, pseudonym_key: str, signer: Signer, advance: Advance
) -> BackupManifest:
    now = datetime.now(UTC)
    parts = [part for table in ARCHIVED for part in _write_table(archive, state, table, advance)]
    manifest = BackupManifest(
        format=FORMAT,
        schema=HEAD,
        created=now.isoformat(timespec="seconds"),
        epoch=_epoch(state),
        ledger=_tip(state),
        pseudonym_key=pseudonym_key,
        key=signer.key_id,
        parts=tuple(parts),
    )
    signed = _Signed(manifest, signer.sign(_signed_bytes(manifest)))
    _add(archive, MANIFEST, canonical.dumps(asdict(signed)).encode())
    return manifest


def _write_table(archive: tarfile.TarFile, state: Snapshot, table: Table, advance: Advance) -> Iterator[Part]:
    for number, frame in enumerate(state.frames(table)):
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        content, name = buffer.getvalue(), f"{table.name}/{number:06d}.parquet"
        _add(archive, name, content)
        advance(len(frame))
        yield Part(name, table.name, len(frame), hashlib.sha256(content).hexdigest())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))


def _epoch(state: Snapshot) -> int:
    return int({name: value for frame in state.frames(counters) for name, value in frame.iter_rows()}["epoch"])


def _tip(state: Snapshot) -> LedgerTip:
    tip = EMPTY
    for frame in state.frames(ledger):
        sequence, digest = frame.select("sequence", "digest").row(-1)
        tip = LedgerTip(sequence, digest)
    return tip


def _read_manifest(archive: tarfile.TarFile, verifier: Verifier) -> BackupManifest:
    text = _member(archive, MANIFEST)
    try:
        signed = _SIGNED.validate_json(text)
    except ValidationError:
        raise _spoilt("its manifest is not of this format") from None
    manifest = signed.manifest
    if manifest.key != verifier.key_id:
        raise WrongKey(
            f"The backup was signed with the key {manifest.key}, this system has {verifier.key_id}: give the keys of "
            "the system that was backed up (RAGREC_SIGNING_KEY and RAGREC_PSEUDONYM_KEY, or HOME/keys)."
        )
    if not verifier.verify(_signed_bytes(manifest), signed.signature):
        raise _spoilt("its manifest was changed")
    if manifest.schema not in SAME_ROWS:
        raise IncompatibleStore(
            f"The backup has tables of revision {manifest.schema}, this version of {HEAD}: restore it with the version "
            "of rag-rec that wrote it, and upgrade the store then."
        )
    return manifest


def _signed_bytes(manifest: BackupManifest) -> bytes:
    return canonical.dumps(asdict(manifest)).encode()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = archive.extractfile(name)
        content = stream.read() if stream else b""
    except (KeyError, OSError, tarfile.TarError):
        raise _spoilt(f"{name} is missing or cannot be read") from None
    return content


@contextmanager
def _aside(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target that takes its place at the end; after an error it is overwritten and removed."""
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    path.touch(mode=0o600, exist_ok=False)
    try:
        with path.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        path.rename(target)
    except BaseException:
        remove(path)
        raise
    sync_folder(target.parent)


def _spoilt(how: str) -> InvalidInput:
    return InvalidInput(f"This is not a whole backup: {how}. Nothing was changed; take another backup.")
