"""Opens the saga of a system by its settings, for commands and batch jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog

from rag_rec.engine.system import open_system
from rag_rec.errors import RagRecError
from rag_rec.forgetting.saga import Saga
from rag_rec.home.keys import open_pseudonyms
from rag_rec.places.cleaning import Cleaner
from rag_rec.places.occupation import Occupation, needs_place
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

log = structlog.get_logger()


def open_saga(settings: Settings, store: Store) -> Saga:
    """The saga over an open store, without anything in memory.

    Raises:
        WrongKey: as :func:`rag_rec.engine.system.open_system`.
        ForeignFolder: the data folder belongs to another store.
        CopiedFolder: it is a copy of one that is open.
    """
    tend(settings, store)
    return Saga(open_system(settings, store, open_pseudonyms(settings)))


def tend(settings: Settings, store: Store, *, thorough: bool = False) -> None:
    """Register a data folder that holds files of people as a place, clean it and report it.

    What cannot be cleaned at present keeps back no removal: it is logged, and other folders' receipts go on naming it.

    Raises:
        ForeignFolder: the data folder belongs to another store.
        CopiedFolder: it is a copy of one that is open.
    """
    if needs_place(settings):
        with closing(Occupation(settings, store)) as place:
            clean_if_possible(settings, store, place, thorough=thorough)


@contextmanager
def occupied(settings: Settings, store: Store) -> Iterator[Occupation]:
    """A data folder while files of people are made in it: every removal knows of it from the beginning on."""
    with closing(Occupation(settings, store)) as place:
        clean_if_possible(settings, store, place, thorough=True)
        try:
            yield place
        finally:
            clean_if_possible(settings, store, place)


def clean_if_possible(settings: Settings, store: Store, place: Occupation, *, thorough: bool = False) -> None:
    """Clean a data folder and report it.

    What fails is logged: a full disk must not keep back a service that can answer, since memory follows the store
    whatever lies in old files. Only a folder that is clean is reported as such.
    """
    try:
        place.beat()
        Cleaner(settings, store, place).clean(thorough=thorough)
    except (RagRecError, OSError) as error:
        log.error("folder_not_clean", code=getattr(error, "code", "disk"))
