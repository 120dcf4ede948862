"""Everything that a removal reaches, under one name."""

from __future__ import annotations

from dataclasses import dataclass

from rag_rec.adapters.folder import CompactStore
from rag_rec.forgetting.ledger.chain import check_key
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home.keys import open_signer
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.identity.signing import Signer
from rag_rec.index.generation import Generations
from rag_rec.layers.memory import Memory
from rag_rec.places.occupation import own_place
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store


@dataclass(frozen=True, slots=True)
class System:
    """The places of one system, and the keys that name and sign.

    Attributes:
        settings: of the system.
        store: the system of record.
        generations: the index generations on disk.
        compact: the compact generator and its adapters.
        pseudonyms: names people in ledger and receipts.
        signer: signs them.
        ledger_file: the copy of the ledger.
        live: the state in memory that answers; None where nothing is loaded.
        place: the id of this data folder, if it is a place.
        replica: the id under which this process is on the list of live replicas, if it is.
    """

    settings: Settings
    store: Store
    generations: Generations
    compact: CompactStore
    pseudonyms: Pseudonyms
    signer: Signer
    ledger_file: LedgerFile
    live: Memory | None = None
    replica: str | None = None
    place: str | None = None


def open_system(
    settings: Settings, store: Store, pseudonyms: Pseudonyms, live: Memory | None = None, replica: str | None = None
) -> System:
    """The system of some settings; its store is open already.

    Raises:
        WrongKey: the signing key cannot be used, is lost, or is not the one that signed the ledger.
    """
    signer = signer_of(settings, store)
    return System(
        settings=settings,
        store=store,
        generations=Generations(settings.generations, signer),
        compact=CompactStore(settings.compact),
        pseudonyms=pseudonyms,
        signer=signer,
        ledger_file=LedgerFile(settings.ledger_file),
        live=live,
        replica=replica,
        place=own_place(settings),
    )


def signer_of(settings: Settings, store: Store) -> Signer:
    """The signer of a system, with which the store's ledger can go on. Raises ``WrongKey``, as :func:`open_system`."""
    newest = store.newest_entry()  # first: where the store was lost, no key is made either
    signer = open_signer(settings)
    check_key(newest, signer.verifier)
    return signer
