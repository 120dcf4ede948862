"""Opens a system for an application: the engine that answers, and the store that a new system begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from rag_rec.engine.engine import Engine
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from rag_rec.store import SqlStore


@contextmanager
def open_engine(settings: Settings | None = None) -> Iterator[Engine]:
    """Open the engine of a system that has an index, and close it at the end of the ``with`` block.

    Args:
        settings: of the system; None reads them from the environment (``RAGREC_...``).

    Raises:
        NoSystem: there is no store; none is made.
        NotReady: there is no index yet.
        RagRecError: any other reason that :meth:`Engine.open` names.
    """
    with closing(Engine.open(settings or Settings())) as engine:
        yield engine


@contextmanager
def open_store(settings: Settings | None = None) -> Iterator[SqlStore]:
    """Open the store of a system, to fill it before there is an index. Begins a new system where there is none.

    Args:
        settings: of the system; None reads them from the environment (``RAGREC_...``).

    Raises:
        IncompatibleStore: the database is damaged, something else, or was written by a newer version.
        WrongKey: a key is lost, or is not the one that the store was written with.
    """
    with closing(store_of(settings or Settings())) as store:
        yield store
