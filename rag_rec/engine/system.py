"""Composes a system that people can be removed from: the list of its layers is here."""

from __future__ import annotations

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.layer import AdapterLayer
from rag_rec.forgetting.ledger.chain import check_key
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.system import System
from rag_rec.home.keys import open_signer
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.identity.signing import Signer
from rag_rec.index.files_layer import FilesLayer
from rag_rec.index.generation import Generations
from rag_rec.index.memory_layers import AnswersLayer, StatisticsLayer
from rag_rec.index.reranker_layer import RerankerLayer
from rag_rec.layers.memory import Memory
from rag_rec.layers.protocol import Layer
from rag_rec.layers.stated import stated_layers
from rag_rec.places.occupation import own_place
from rag_rec.places.temporary_layer import TemporaryLayer
from rag_rec.presence.freed_layer import FreedLayer
from rag_rec.settings import Settings
from rag_rec.store.layer import StoreLayer
from rag_rec.store.protocol import Store


def open_system(
    settings: Settings, store: Store, pseudonyms: Pseudonyms, live: Memory | None = None, replica: str | None = None
) -> System:
    """The system of some settings; its store is open already.

    Args:
        settings: name its folders.
        store: the system of record.
        pseudonyms: names people in ledger and receipts.
        live: the state in memory that answers; None where nothing is loaded.
        replica: the id under which this process is on the list of live replicas, if it is.

    Raises:
        WrongKey: the signing key cannot be used, is lost, or is not the one that signed the ledger.
    """
    signer = signer_of(settings, store)
    generations, compact = Generations(settings.generations, signer), AdapterStore(settings.compact)
    place = own_place(settings)
    layers: list[Layer] = [  # what answers wait for is removed first, and other services are waited for last
        StatisticsLayer(live, store, replica),
        StoreLayer(store, pseudonyms),
        FilesLayer(generations, store, place, settings.replica_wait_ms),
        TemporaryLayer(generations, compact, store, place),
        AdapterLayer(store, compact, settings, place),
        AnswersLayer(live, store, replica, settings),
        RerankerLayer(generations),
        *stated_layers(),
        FreedLayer(store),
    ]
    return System(
        settings=settings,
        store=store,
        layers=layers,
        pseudonyms=pseudonyms,
        signer=signer,
        ledger_file=LedgerFile(settings.ledger_file),
        index_digest=generations.current_digest,
        place=place,
    )


def signer_of(settings: Settings, store: Store) -> Signer:
    """The signer of a system, with which the store's ledger can go on. Raises ``WrongKey``, as :func:`open_system`."""
    newest = store.newest_entry()  # first: where the store was lost, no key is made either
    signer = open_signer(settings)
    check_key(newest, signer.verifier)
    return signer
