"""From findings to a state and a receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rag_rec.errors import BrokenLedger
from rag_rec.forgetting.ledger.chain import make_entry, tip_after
from rag_rec.forgetting.receipts.document import Facts, findings_in, read_receipt, receipt_digest, write_receipt
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import FINAL, STATES, Finding, is_complete
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.records import LedgerEntry, LedgerTip

ORDER: Final = tuple(ForgetState)


def state_of(findings: Sequence[Finding], states: Mapping[str, ForgetState | None] = STATES) -> ForgetState:
    """How far a request has come, by what was found. A layer of which nothing is said keeps it back.

    Args:
        findings: of each layer.
        states: the state that a request cannot reach before each layer is final.
    """
    status = {finding.layer: finding.status for finding in findings}
    reached = ForgetState.HIDDEN
    for state in (ForgetState.ERASED, ForgetState.EFFECTIVE, ForgetState.UNLEARNED, ForgetState.COMPLETE):
        if any(status.get(layer) not in FINAL for layer, waits in states.items() if waits is state):
            return reached
        if state is ForgetState.COMPLETE and not is_complete((each.layer, each.status) for each in findings):
            return reached
        reached = state
    return reached


def advanced(record: ForgetRecord, state: ForgetState, now: int) -> ForgetRecord:
    """The record with a new state, and with the time of every state that it has passed."""
    passed = ORDER[: ORDER.index(state) + 1]
    times = {**{each.value: now for each in passed}, **record.times}
    effective = ORDER.index(state) >= ORDER.index(ForgetState.EFFECTIVE)
    return replace(record, state=state, times=times, user_number=None if effective else record.user_number)


def findings_of(record: ForgetRecord) -> list[Finding]:
    """What the record's receipt says of each layer."""
    return findings_in(record.receipt) if record.receipt else []


class ReceiptIssuer:
    """Issues receipts: revision by revision, each an entry of the ledger."""

    def __init__(self, system: System) -> None:
        self._system = system

    def issue(
        self,
        concluded: Sequence[tuple[ForgetRecord, Sequence[Finding]]],
        now: int,
        before: str | None = None,
        twin: Mapping[str, Any] | None = None,
    ) -> list[ForgetRecord]:
        """Sign a receipt for each record, and store records and entries in one transaction.

        Args:
            concluded: records in their new state, and what was found.
            now: milliseconds since 1970 UTC.
            before: digest of the index's manifest before the removal; None keeps what the receipt had.
            twin: the table of a twin proof to add; None keeps what the receipt had.
        """
        issued: list[ForgetRecord] = []
        after = self._system.index_digest()

        def compose(tip: LedgerTip) -> tuple[Sequence[LedgerEntry], Sequence[ForgetRecord]]:
            entries: list[LedgerEntry] = []
            for concluded_record, findings in concluded:
                record = self._store_has_another(concluded_record)
                if record is not None and twin is None:
                    issued.append(record)  # another folder's process was faster: its receipt stands
                    continue
                record = record or concluded_record
                facts = _facts(record, findings, now, (before, after), twin)
                receipt = self._write(facts, tip)
                entry = make_entry(tip, "receipt", receipt, self._system.signer)
                tip = tip_after(entry)
                entries.append(entry)
                issued.append(replace(record, receipt=receipt))
            return entries, issued

        self._system.store.extend_ledger(compose)
        self.copy_ledger()
        return issued

    def _store_has_another(self, record: ForgetRecord) -> ForgetRecord | None:
        """The record as it is by now, where somebody has issued a receipt since it was read. Called while nobody else
        can write."""
        present = self._system.store.forget_record(record.request_id)
        return None if present is None or present.receipt == record.receipt else present

    def copy_ledger(self) -> None:
        """Bring the copy of the ledger up to date.

        Raises:
            BrokenLedger: it does not end with an entry of the store's: one of them was changed, cut or is foreign.
            NotReady: it cannot be read or written.
        """
        copy = self._system.ledger_file
        end = copy.tip().sequence
        entries = self._system.store.ledger(max(0, end - 1))
        if end and not entries:
            raise BrokenLedger(
                f"The store's ledger lacks entries that {copy.path} has: the store was cut, or restored without "
                "`rag-rec restore`. Run `rag-rec ledger verify`, and restore the store with `rag-rec restore`."
            )
        copy.extend(entries)

    def _write(self, facts: Facts, tip: LedgerTip) -> str:
        return write_receipt(facts, tip, self._system.pseudonyms.key_id, self._system.signer)


def _facts(
    record: ForgetRecord,
    findings: Sequence[Finding],
    now: int,
    generations: tuple[str | None, str | None],
    twin: Mapping[str, Any] | None,
) -> Facts:
    earlier = read_receipt(record.receipt) if record.receipt else None
    erased = earlier is not None and earlier["state"] != ForgetState.HIDDEN.value
    before, after = generations
    return Facts(
        record=record,
        findings=findings,
        generation_before=before if earlier is None else earlier["generation"]["before"],
        generation_after=earlier["generation"]["after"] if earlier and erased else after,
        revision=1 if earlier is None else earlier["revision"] + 1,
        supersedes=receipt_digest(record.receipt) if record.receipt else None,
        twin=twin if twin is not None or earlier is None else earlier["twin"],
        issued=now,
    )
