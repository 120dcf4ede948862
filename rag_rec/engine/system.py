"""Composes a system that people can be removed from: the list of its layers is here."""

from __future__ import annotations

from rag_rec.adapters.folder import CompactStore
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
from rag_rec.index.reader_layer import ReaderLayer
from rag_rec.layers.memory import Memory
from rag_rec.layers.protocol import Layer
from rag_rec.layers.stated import stated_layers
from rag_rec.places.occupation import own_place
from rag_rec.places.temporary_layer import TemporaryLayer
from rag_rec.presence.freed_layer import FreedLayer
from rag_rec.settings import Settings
from rag_rec.store.layer import StoreLayer
from rag_rec.store.protocol import Store


class Parts:
    """What of a system stays the same while a process runs: its folders and keys.

    The keys are read once. What others may change meanwhile is looked at with every :meth:`system`: the end of the
    ledger, and which place the folder is.

    Args:
        settings: name its folders.
        store: the system of record.
        pseudonyms: names people in ledger and receipts.

    Raises:
        WrongKey: the signing key cannot be used, is lost, or is not the one that signed the ledger.
    """

    def __init__(self, settings: Settings, store: Store, pseudonyms: Pseudonyms) -> None:
        self.pseudonyms = pseudonyms
        self.signer = signer_of(settings, store)
        self._settings = settings
        self._store = store
        self._generations = Generations(settings.generations, self.signer)
        self._compact = CompactStore(settings.compact)
        self._ledger_file = LedgerFile(settings.ledger_file)

    def system(self, live: Memory | None = None, replica: str | None = None) -> System:
        """The system with this state in memory.

        Args:
            live: the state in memory that answers; None where nothing is loaded.
            replica: the id under which this process is on the list of live replicas, if it is.

        Raises:
            WrongKey: another key signed the ledger meanwhile.
        """
        check_key(self._store.newest_entry(), self.signer.verifier)
        place = own_place(self._settings)
        return System(
            settings=self._settings,
            store=self._store,
            layers=self._layers(live, replica, place),
            pseudonyms=self.pseudonyms,
            signer=self.signer,
            ledger_file=self._ledger_file,
            index_digest=self._generations.current_digest,
            place=place,
        )

    def _layers(self, live: Memory | None, replica: str | None, place: str | None) -> list[Layer]:
        settings, store, generations, compact = self._settings, self._store, self._generations, self._compact
        return [  # what answers wait for is removed first, and other services are waited for last
            StatisticsLayer(live, store, replica),
            StoreLayer(store, self.pseudonyms),
            FilesLayer(generations, store, place, settings.replica_wait_ms),
            TemporaryLayer(generations, compact, store, place),
            AdapterLayer(store, compact, settings, place),
            AnswersLayer(live, store, replica, settings),
            ReaderLayer(generations),
            *stated_layers(),
            FreedLayer(store),
        ]


def open_system(settings: Settings, store: Store, pseudonyms: Pseudonyms, live: Memory | None = None) -> System:
    """The system of some settings, for a command. Raises ``WrongKey`` as :class:`Parts`."""
    return Parts(settings, store, pseudonyms).system(live)


def signer_of(settings: Settings, store: Store) -> Signer:
    """The signer of a system, with which the store's ledger can go on. Raises ``WrongKey``, as :class:`Parts`."""
    newest = store.newest_entry()  # first: where the store was lost, no key is made either
    signer = open_signer(settings)
    check_key(newest, signer.verifier)
    return signer
