"""Opens a data folder as a place of its store: registers it, and notices a folder that is another's or a copy.

A process that has a folder open holds a shared lock on a file in it. Where the store says that the place is open and
no process holds that lock, the open folder is another one: this is a copy of it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from filelock import FileLock, Timeout

from rag_rec.adapters.folder import AdapterStore
from rag_rec.artifacts.private import FILE_MODE
from rag_rec.clock import now_ms
from rag_rec.errors import Busy, CopiedFolder, ForeignFolder
from rag_rec.places.folder import NOTHING, Identity, holds_people, new_identity, read_identity, write_identity
from rag_rec.presence.awaited import is_open
from rag_rec.presence.hosts import this_host
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Place

LOCK: Final = ".place.lock"
OPEN: Final = ".place.open"
LOCK_SECONDS: Final = 30.0
BEAT_MS: Final = 5_000

log = structlog.get_logger()


class Occupation:
    """A folder that this process has open. Any number of processes may have the same one open: it is one place.

    Raises:
        ForeignFolder: it belongs to another store.
        CopiedFolder: the folder of this identity is open somewhere else.
        CorruptIndex: its identity cannot be read.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._home = settings.home
        self._home.mkdir(parents=True, exist_ok=True)
        self._descriptor: int | None = os.open(self._home / OPEN, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with writing(self._home):
                self.identity = self._known()
                self._register()
        except BaseException:
            self._release()
            raise

    @property
    def id(self) -> str:
        """The place's id."""
        return self.identity.place

    @property
    def verified(self) -> int:
        """The erasure epoch up to which both the folder and the store say that its files were looked at."""
        row = self._row()
        return min(self._now().verified, NOTHING if row is None else row.epoch)

    def say(self, verified: int | None = None) -> None:
        """Say that the place is open and which adapters it holds; and, where given, up to which erasure epoch its files
        were looked at. The folder is told before the store."""
        with writing(self._home):
            self.identity = self._now()
            if verified is not None:
                self.identity = replace(self.identity, verified=max(verified, self.identity.verified))
                write_identity(self._home, self.identity)
            self._write(self._row())

    def beat(self) -> None:
        """Say now and then that the place is open, and at once where it holds other adapters than it said."""
        row = self._row()
        if row is None or row.adapters != self._adapters() or row.seen < now_ms() - BEAT_MS:
            self.say()

    def close(self) -> None:
        """Let go of the folder. The last process to do so says that it is not open any more."""
        if self._descriptor is None:
            return
        try:
            self._store.check()  # first: where the store was lost, its folder is not made again
            with suppress(Busy), writing(self._home):
                row = self._row()
                if row is not None and row.retired is None and self._is_alone():
                    self._store.put_place(replace(row, seen=0))
        finally:
            self._release()

    def _known(self) -> Identity:
        """Who the folder is; it gets an identity where it has none."""
        belongs = self._store.identity()
        known = read_identity(self._home)
        if known is None:
            known = new_identity(belongs)
            write_identity(self._home, known)
        if known.store != belongs:
            raise ForeignFolder(
                f"The folder {self._home.absolute()} belongs to another store than RAGREC_STORE_URL names: set "
                "RAGREC_HOME or RAGREC_STORE_URL right. To give the folder to this store, and destroy what it holds "
                "of the other one, run `rag-rec place renew --discard`."
            )
        row = self._row_of(known)
        if row is not None and row.retired is not None:
            # Whatever was said of its disk: it is here. It is looked at from the beginning, under another identity.
            log.warning("retired_place_is_back", place=known.place)
            known = new_identity(belongs)
            write_identity(self._home, known)
        return known

    def _register(self) -> None:
        alone, row = self._is_alone(), self._row()
        if alone and row is not None and self._is_elsewhere(row):
            raise CopiedFolder(
                f"The folder {self._home.absolute()} calls itself the place {row.id}, which is open as {row.name}: "
                "this folder is a copy. Give it an identity of its own with `rag-rec place renew`. If the "
                "other process was killed just now, try again in 15 seconds."
            )
        self._write(row)

    def _is_elsewhere(self, row: Place) -> bool:
        """Whether another folder is open under this identity. A store inside the folder was copied with it."""
        here = (row.host, row.path) == (this_host(), str(self._home.absolute()))
        return self._settings.store_url is not None and not here and is_open(row)

    def _write(self, row: Place | None) -> None:
        before = row or Place(self.id, "", "", NOTHING, 0)
        said = replace(
            before,
            host=this_host(),
            path=str(self._home.absolute()),
            epoch=min(self.identity.verified, self._store.erasure_epoch()),
            seen=now_ms(),
            adapters=self._adapters(),
        )
        self._store.put_place(said)

    def _adapters(self) -> tuple[str, ...]:
        return tuple(sorted(AdapterStore(self._settings.compact).adapter_digests()))

    def _now(self) -> Identity:
        return read_identity(self._home) or self.identity

    def _row(self) -> Place | None:
        return self._row_of(self.identity)

    def _row_of(self, identity: Identity) -> Place | None:
        return next((place for place in self._store.places() if place.id == identity.place), None)

    def _is_alone(self) -> bool:
        """Whether no other process, or engine of this process, has the folder open. Afterwards it is held again."""
        assert self._descriptor is not None  # noqa: S101 - nobody asks after the end
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except OSError:
            alone = False
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        return alone

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def own_place(settings: Settings) -> str | None:
    """The id of a folder as a place, None where it has none. Opens nothing."""
    known = read_identity(settings.home)
    return None if known is None else known.place


def needs_place(settings: Settings) -> bool:
    """Whether a folder has to be a place: it is one already, or holds files that were made from people."""
    return read_identity(settings.home) is not None or holds_people(settings)


@contextmanager
def writing(home: Path) -> Iterator[None]:
    """Hold the lock under which a folder's identity is read and written. Raises ``Busy`` when it stays taken."""
    try:
        with FileLock(home / LOCK, timeout=LOCK_SECONDS, mode=FILE_MODE):
            yield
    except Timeout:
        raise Busy("Another process is opening this data folder; try again in a moment.") from None
