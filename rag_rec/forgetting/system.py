"""What a removal needs of a system: the store, the layers, and the keys that name and sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.identity.signing import Signer
from rag_rec.layers.protocol import Layer
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store


@dataclass(frozen=True, slots=True)
class System:
    """See the module.

    Attributes:
        settings: of the system.
        store: the system of record.
        layers: every place that a person's data reaches, in the order in which they remove.
        pseudonyms: names people in ledger and receipts.
        signer: signs them.
        ledger_file: the copy of the ledger.
        index_digest: gives the digest of the index in use, for receipts; None where there is none.
        place: the id of this data folder, if it is a place.
    """

    settings: Settings
    store: Store
    layers: Sequence[Layer]
    pseudonyms: Pseudonyms
    signer: Signer
    ledger_file: LedgerFile
    index_digest: Callable[[], str | None]
    place: str | None = None
