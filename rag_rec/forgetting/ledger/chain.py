"""The ledger of erasures: a chain of signed entries, in the store and in a file beside it.

Each entry carries the digest of the one before, so nothing can be changed, taken out, put in or moved without breaking
the chain. Only cutting off its end leaves a whole chain; that shows against the other copy. The digest of an entry is
the SHA-256 over the canonical JSON of ``{body, kind, previous, sequence}``, where ``body`` is text; the signature is
over the digest's 64 hexadecimal digits. No body names a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rag_rec.errors import BrokenLedger, WrongKey
from rag_rec.forgetting.ledger import canonical
from rag_rec.identity.signing import Signer, Verifier
from rag_rec.store.records import LedgerEntry, LedgerTip

EMPTY: Final = LedgerTip(0, "0" * 64)
"""The end of a ledger that holds nothing."""


def make_entry(tip: LedgerTip, kind: str, body: Mapping[str, Any] | str, signer: Signer) -> LedgerEntry:
    """The signed entry that follows a tip. A ``body`` that is text is canonical JSON already, such as a receipt."""
    sequence, text = tip.sequence + 1, body if isinstance(body, str) else canonical.dumps(body)
    digest = _digest(sequence, kind, text, tip.digest)
    return LedgerEntry(sequence, kind, text, tip.digest, digest, signer.sign(digest.encode()))


def tip_after(entry: LedgerEntry) -> LedgerTip:
    """The end of a ledger whose newest entry this is."""
    return LedgerTip(entry.sequence, entry.digest)


def verify_links(entries: Sequence[LedgerEntry], start: LedgerTip = EMPTY) -> LedgerTip:
    """Check that entries follow a tip, and each other, without a gap. Returns the tip after them.

    Raises:
        BrokenLedger: the first entry that does not is named.
    """
    tip = start
    for entry in entries:
        if (entry.sequence, entry.previous) != (tip.sequence + 1, tip.digest):
            raise _broken(tip.sequence + 1, "does not follow the one before: one was taken out, put in or moved")
        if entry.digest != _digest(entry.sequence, entry.kind, entry.body, entry.previous):
            raise _broken(entry.sequence, "was changed")
        tip = tip_after(entry)
    return tip


def verify_chain(entries: Sequence[LedgerEntry], verifier: Verifier, start: LedgerTip = EMPTY) -> LedgerTip:
    """Check links and signatures of entries that follow a tip. Returns the tip after them.

    Raises:
        BrokenLedger: the first entry that is not as it was signed is named.
        WrongKey: not one of them was signed with this key.
    """
    tip = verify_links(entries, start)
    unsigned = [entry for entry in entries if not _is_signed(entry, verifier)]
    if unsigned and len(unsigned) == len(entries):
        raise _wrong_key(verifier)
    if unsigned:
        raise _broken(unsigned[0].sequence, f"was not signed with the key {verifier.key_id}")
    return tip


def check_key(newest: LedgerEntry | None, verifier: Verifier) -> None:
    """Check that a ledger may go on with a key: that its newest entry, if there is one, was signed with it.

    Raises:
        WrongKey: it was signed with another one. Entries of two keys could be verified with neither.
    """
    if newest is not None and not _is_signed(newest, verifier):
        raise _wrong_key(verifier)


def _is_signed(entry: LedgerEntry, verifier: Verifier) -> bool:
    return verifier.verify(entry.digest.encode(), entry.signature)


def _wrong_key(verifier: Verifier) -> WrongKey:
    return WrongKey(
        f"The key {verifier.key_id} is not the key that signed the ledger: give the right one in RAGREC_SIGNING_KEY or "
        "in HOME/keys/signing.key. Nothing was written. If it is the right one, the ledger was changed, which "
        "`rag-rec ledger verify` looks into."
    )


def _digest(sequence: int, kind: str, body: str, previous: str) -> str:
    content = {"sequence": sequence, "kind": kind, "body": body, "previous": previous}
    return hashlib.sha256(canonical.dumps(content).encode()).hexdigest()


def _broken(sequence: int, how: str) -> BrokenLedger:
    return BrokenLedger(
        f"Entry {sequence} of the ledger {how}. Keep this ledger as evidence, and restore the store or the file from "
        "its other copy."
    )
