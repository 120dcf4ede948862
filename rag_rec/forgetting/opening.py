"""Opens the saga of a system by its settings, for commands and batch jobs."""

from __future__ import annotations

from rag_rec.forgetting.saga import Saga
from rag_rec.forgetting.system import open_system
from rag_rec.keys import open_pseudonyms
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store


def open_saga(settings: Settings, store: Store) -> Saga:
    """The saga over an open store, without anything in memory. Raises ``WrongKey``."""
    return Saga(open_system(settings, store, open_pseudonyms(settings)))
