"""Consent to a new identity, and legal holds: what privacy officers record of people beside forgetting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag_rec.clock import now_ms
from rag_rec.errors import InvalidInput, UnknownUser
from rag_rec.forgetting.audit.actor import current_actor
from rag_rec.forgetting.ledger.chain import make_entry
from rag_rec.forgetting.receipts.conclusion import ReceiptIssuer
from rag_rec.forgetting.system import System
from rag_rec.layers.records import ForgetRecord
from rag_rec.store.records import Hold, LedgerEntry, LedgerTip, Suppression


class Identities:
    """Records consents and holds in the store, and in the ledger."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._issuer = ReceiptIssuer(system)

    def consent(self, user_id: str) -> Suppression:
        """Open a new identity for a forgotten person: what happens from now on is taken again, what was before is not.

        Raises:
            UnknownUser: this person has not been forgotten.
        """
        by = current_actor().document()

        def entry(tip: LedgerTip, opened: Suppression) -> LedgerEntry:
            body = {"subject": opened.subject, "identity": opened.identity, "time": opened.consented, "by": by}
            return make_entry(tip, "consent", body, self._system.signer)

        opened = self._system.store.consent(self._system.pseudonyms.user(user_id), now_ms(), entry)
        self._issuer.copy_ledger()
        return opened

    def hold(self, user_id: str, reason: str) -> Hold:
        """Forbid that a person is forgotten. Raises ``InvalidInput`` without a reason, ``UnknownUser``."""
        if not reason.strip():
            raise InvalidInput("A legal hold needs a reason, such as the file number of the case.")
        if self._system.store.user(user_id) is None:
            raise UnknownUser("There is no user with this id; nothing was changed.")
        hold = Hold(self._system.pseudonyms.user(user_id), reason, now_ms())
        self._system.store.put_hold(hold)
        self._note("hold", {"subject": hold.subject, "reason": reason, "time": hold.created})
        return hold

    def release(self, user_id: str) -> None:
        """Lift a legal hold. Raises ``UnknownUser`` if there is none."""
        subject = self._system.pseudonyms.user(user_id)
        if not self._system.store.drop_hold(subject):
            raise UnknownUser("There is no legal hold on this user; nothing was changed.")
        self._note("release", {"subject": subject, "time": now_ms()})

    def _note(self, kind: str, body: Mapping[str, Any]) -> None:
        by = current_actor().document()

        def compose(tip: LedgerTip) -> tuple[Sequence[LedgerEntry], Sequence[ForgetRecord]]:
            return [make_entry(tip, kind, {**body, "by": by}, self._system.signer)], []

        self._system.store.extend_ledger(compose)
        self._issuer.copy_ledger()
