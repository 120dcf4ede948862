"""Puts a backup in place of a store, and forgets again, in the same transaction, the people who were forgotten after
it.

Nobody ever finds the rows of a backup on which the ledger has not been replayed: they become visible when the one
transaction that also replays it is committed. What was made from the old store's data is destroyed just before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import Connection, Table, delete, insert, select

from rag_rec.copies.backup import Backup, open_backup
from rag_rec.copies.newest import Entries, newest_ledger, written
from rag_rec.copies.replay import Replay
from rag_rec.errors import Busy, WrongKey
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home.keys import existing_pseudonyms, existing_signer
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.index.generation import Generations
from rag_rec.places.derived import discard_derived
from rag_rec.places.folder import NOTHING, read_identity, write_identity
from rag_rec.presence.replicas import is_running
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.settings import Settings
from rag_rec.store.archive import ARCHIVED, clear, load, read_counters, write_counters
from rag_rec.store.identity import peek_identity, replace_identity
from rag_rec.store.place import place_for
from rag_rec.store.places import peek_places, write_place
from rag_rec.store.records import LedgerEntry, Place
from rag_rec.store.replicas import read_replica
from rag_rec.store.schema import counters, identity, ledger, places, replicas
from rag_rec.store.scrubbing import scrub

_NEVER_BACK: Final = ("user", "interaction", "suppressed")
"""Counters that go on from the higher value: a number must never come to mean another person. Items and events are
numbered without gaps, so that theirs are the backup's; nothing that refers to other numbers is left."""

_NOT_NEWER: Final = (
    "The ledger that was found is no newer than the backup, so that nothing was replayed: erasures after the backup "
    "are not known from it, and people who were forgotten since, if there are any, are back. Restore again with "
    "--ledger and a newer copy if there is one; if not, forget the people again who asked since."
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        created: when the backup was made.
        rows: of the backup, by table.
        ledger: entries of the ledger.
        ledger_until: when the newest of them was written, ISO 8601, UTC; None if there is none.
        replayed: of these, the ones newer than the backup by kind, and the rows that they removed.
        epoch: the store's; whatever was made before is older, and void.
        warning: that nothing was replayed, since no ledger was found that is newer than the backup; else None.
    """

    created: str
    rows: Mapping[str, int]
    ledger: int
    ledger_until: str | None
    replayed: Mapping[str, int]
    epoch: int
    warning: str | None


def restore(  # noqa: PLR0913 - one parameter per option of the command, and what a drill needs
    path: Path,
    settings: Settings,
    ledgers: Sequence[Entries] = (),
    *,
    without_later_erasures: bool = False,
    elsewhere: bool = False,
    progress: Progress = SILENT,
) -> Restored:
    """Replace the system's store by a backup.

    Args:
        path: the backup.
        settings: of the system.
        ledgers: copies of the ledger beside those in the store that is replaced and in ``settings.ledger_file``.
        without_later_erasures: go on where no ledger is known that is at least as new as the backup.
        elsewhere: it is not the system that is restored, but another one made from its data: the data folders of the
            system are not its own, and no removal in it waits for them.
        progress: told of the stages, and of the rows restored.

    Raises:
        InvalidInput: the backup is not whole.
        WrongKey: it belongs to another system, or a key of this one is missing; none is made.
        IncompatibleStore: another version wrote it, or the store.
        BrokenLedger: a ledger was changed, is older than the backup, or belongs to another store.
        ConfirmationRequired: no ledger is known.
        Busy: a service is running on the store, or others keep it from being scrubbed; it is restored then.
    """
    pseudonyms, verifier = existing_pseudonyms(settings), existing_signer(settings).verifier
    generations = Generations(settings.generations)
    with open_backup(path, verifier) as backup:
        progress.stage("check the backup", 0)
        _check(backup, pseudonyms)
        with generations.writing(), place_for(settings.database_url) as database:
            with database.writer(durable=True) as connection:
                known = [*ledgers, *_known(connection, settings)]
                newest = newest_ledger(backup.ledger(), known, verifier, own_suffices=without_later_erasures)
                restored = _Replacement(connection, backup, newest, elsewhere).carry_out(pseudonyms, settings, progress)
                discard_derived(settings, generations)
                _rename(settings, peek_identity(connection))
            LedgerFile(settings.ledger_file).extend(newest)
            progress.stage("scrub the store", 0)
            scrub(database)
    return restored


class _Replacement:
    """The rows of one transaction: those of a backup in place of those that were there."""

    def __init__(self, connection: Connection, backup: Backup, newest: Entries, elsewhere: bool) -> None:
        self._elsewhere = elsewhere
        self._connection = connection
        self._backup = backup
        self._newest = newest

    def carry_out(self, pseudonyms: Pseudonyms, settings: Settings, progress: Progress) -> Restored:
        manifest = self._backup.manifest
        _refuse_while_running(self._connection)
        values = self._counters(read_counters(self._connection))
        known = self._backup.identity() or peek_identity(self._connection)
        present = peek_places(self._connection)
        clear(self._connection)
        replace_identity(self._connection, known)
        progress.stage("write rows", sum(manifest.rows.get(table.name, 0) for table in _loaded()))
        self._load(progress)
        progress.stage("replay the ledger", 0)
        write_counters(self._connection, values)
        self._keep_places(present)
        replay = Replay(self._connection, pseudonyms, settings.forget_days)
        for entry in self._newest[manifest.ledger.sequence :]:
            replay.apply(entry)
        until = written(self._newest[-1]) if self._newest else None
        return Restored(
            created=manifest.created,
            rows=manifest.rows,
            ledger=len(self._newest),
            ledger_until=until,
            replayed=dict(replay.done),
            epoch=values["epoch"],
            warning=_NOT_NEWER if len(self._newest) == manifest.ledger.sequence else None,
        )

    def _keep_places(self, present: Sequence[Place]) -> None:
        """The data folders are those that were there and those of the backup. None has been looked at since."""
        if self._elsewhere:
            self._connection.execute(delete(places))
        for place in present:
            write_place(self._connection, place)

    def _load(self, progress: Progress) -> None:
        for table in _loaded():
            for frame in self._backup.frames(table):
                load(self._connection, table, frame)
                progress.advance(len(frame))
        if self._newest:
            self._connection.execute(insert(ledger), [asdict(entry) for entry in self._newest])

    def _counters(self, old: Mapping[str, int]) -> dict[str, int]:
        values = self._backup.counters()
        erased = [orjson.loads(entry.body)["epoch"] for entry in self._newest if entry.kind == "erasure"]
        epoch = 1 + max(old["epoch"], values["epoch"], *erased)
        higher = {name: max(old[name], values[name]) for name in _NEVER_BACK}
        return values | higher | {"epoch": epoch, "erasure": epoch, "scrub": 1}


def _rename(settings: Settings, store: str) -> None:
    """The data folder is the restored store's; nothing in it has been looked at since."""
    known = read_identity(settings.home)
    if known is not None:
        write_identity(settings.home, replace(known, store=store, verified=NOTHING))


def _loaded() -> list[Table]:
    """The tables whose rows are those of the backup."""
    return [table for table in ARCHIVED if table not in (counters, identity, ledger)]


def _check(backup: Backup, pseudonyms: Pseudonyms) -> None:
    if backup.manifest.pseudonym_key != pseudonyms.key_id:
        raise WrongKey(
            "The backup was made under another pseudonym key, so that forgotten people would not be recognised: give "
            "the right one in RAGREC_PSEUDONYM_KEY or in HOME/keys/pseudonym.key. Nothing was changed."
        )
    backup.verify()


def _known(connection: Connection, settings: Settings) -> list[Entries]:
    """The ledgers of the store that is replaced, and of the file. An empty one says nothing: the store may be new."""
    rows = connection.execute(select(*ledger.c).order_by(ledger.c.sequence))
    copies = [[LedgerEntry(*row) for row in rows], LedgerFile(settings.ledger_file).read()]
    return [copy for copy in copies if copy]


def _refuse_while_running(connection: Connection) -> None:
    if any(is_running(read_replica(row)) for row in connection.execute(select(*replicas.c))):
        raise Busy("A service is running on this store: stop it, and restore again.")
