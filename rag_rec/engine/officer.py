"""What a privacy officer asks of a running system: :attr:`rag_rec.engine.engine.Engine.officer`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from rag_rec.domain import User
from rag_rec.engine.attendance import Attendance
from rag_rec.engine.current import Current
from rag_rec.engine.removals.process import Lost, RemovalProcess
from rag_rec.engine.system import open_system
from rag_rec.errors import Busy, NotReady, RagRecError
from rag_rec.forgetting.audit.trail import Deed, deeds, note
from rag_rec.forgetting.plan import Plan
from rag_rec.forgetting.receipts.records import record_of
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.rights.access import export
from rag_rec.forgetting.rights.identity import Identities
from rag_rec.forgetting.saga import Saga
from rag_rec.forgetting.system import System
from rag_rec.home.keys import open_pseudonyms
from rag_rec.layers.records import ForgetRecord
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.proof.table import compare, proof_table
from rag_rec.proof.twin import build_twin
from rag_rec.store.records import Hold, StoredInteraction, Suppression

log = structlog.get_logger()


class Officer:
    """Access, forgetting, proof, consent and legal holds, over one store and the state in memory. Thread-safe.

    Args:
        current: the state that answers.
        attendance: knows which replica this process is.
        removals: the process that carries removals out; None carries them out here. It is the officer's own.

    Attributes:
        removal_process_losses: how often that process was lost while it carried one out; each was finished here.
    """

    def __init__(self, current: Current, attendance: Attendance, removals: RemovalProcess | None = None) -> None:
        self._current = current
        self._attendance = attendance
        self._settings = current.settings
        self._store = current.store
        self._turn = threading.RLock()
        self._pseudonyms = open_pseudonyms(current.settings)
        self._removals = removals
        self.removal_process_losses = 0

    def export(self, user_id: str) -> tuple[User, list[StoredInteraction]]:
        """Everything stored about a user (right of access), as of one moment. The ledger says who asked."""
        exported = export(self._store, user_id)
        note(self.system(), "export", subject=self._pseudonyms.user(user_id))
        return exported

    def plan(self, request: ForgetRequest) -> Plan:
        """What a request would remove, and the hash by which it is agreed to. Changes nothing."""
        return self.saga().plan(request)

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Remove people, or some of a person's interactions, from every layer. See :meth:`Saga.forget`."""
        outcome = self._forget(request)
        self._current.fresh()
        return outcome

    def forget_records(self, request_id: str) -> list[ForgetRecord]:
        """What became of a forget request, or of every request of a batch. Raises ``UnknownRequest``."""
        return self.saga().records(request_id)

    def pending(self) -> list[ForgetRecord]:
        """Forget requests that are not complete."""
        return self._store.forget_records(pending=True)

    def forget_requests(self, *, pending: bool = False, newest: int | None = None) -> list[ForgetRecord]:
        """Forget requests, oldest first: only those that are not complete, and of them the ``newest`` so many."""
        return self._store.forget_records(pending=pending, newest=newest)

    def find(self, user_id: str) -> list[ForgetRecord]:
        """The forget requests about a person, oldest first, by the id that the person has or had."""
        return self._store.forget_records(subject=self._pseudonyms.user(user_id))

    def receipt(self, request_id: str) -> str:
        """The latest receipt of a request, signed JSON.

        Raises:
            UnknownRequest: there is no such request, or it is a batch; the message says how to get at its requests.
            NotReady: it has no receipt yet.
        """
        receipt = record_of(self._store, request_id).receipt
        if receipt is None:
            raise NotReady("The request has been accepted and has no receipt yet; try again in a moment.")
        return receipt

    def public_key(self) -> str:
        """The key by which receipts are verified, as PEM."""
        return self.system().signer.public_pem

    def prove(self, request_id: str, sample: int | None = None, progress: Progress = SILENT) -> Mapping[str, Any]:
        """Compare this system with a twin that never knew the person, and add the table to the receipt.

        Args:
            request_id: of a request that has been carried out.
            sample: of how many users the lists are compared; None is all, up to the limit of
                :mod:`.forgetting.proof.table`.
            progress: told of the stages: the twin, each comparison, the receipt.

        Raises:
            UnknownRequest: there is no such request.
            NotReady: it has not been carried out yet.
            Busy: another index was taken up meanwhile, and the state that was compared answers no more.
        """
        self.receipt(request_id)
        live = self._current.live
        twin = build_twin(live, self._store, self._settings, self._current.embedder, progress)
        table = proof_table(compare(live, twin, sample, self._settings.seed, progress))
        if self._current.live is not live:
            raise Busy("Another index was taken up while the proof was made; try again. The receipt is as it was.")
        progress.stage("sign the receipt", 0)
        self.saga().add_proof(request_id, table)
        note(self.system(), "prove", request=request_id)
        return table

    def consent(self, user_id: str) -> Suppression:
        """Open a new identity for a forgotten person. Raises ``UnknownUser`` if nobody of this id was forgotten."""
        return Identities(self.system()).consent(user_id)

    def hold(self, user_id: str, reason: str) -> Hold:
        """Forbid that a person is forgotten, for a legal reason."""
        return Identities(self.system()).hold(user_id, reason)

    def release(self, user_id: str) -> None:
        """Lift a legal hold."""
        Identities(self.system()).release(user_id)

    def audit(self, after: int = 0, limit: int | None = None) -> list[Deed]:
        """What was done, and by whom, oldest first. See :func:`rag_rec.forgetting.audit.trail.deeds`."""
        return deeds(self._store, after, limit)

    def holds(self) -> list[Hold]:
        """All legal holds, by time. They name people by pseudonym."""
        return self._store.holds()

    def finish(self) -> None:
        """Clean the data folder, and take up what is unfinished, unless a removal is under way.

        What cannot be finished at present, because a disk is full or an old index is damaged, must not keep back a
        service that can answer: it is logged, and shows in the age of the oldest pending request.
        """
        saga, attendance = self.saga(), self._attendance
        with saga.turn.taken_if_free() as mine:
            if not mine:
                return
            for task in (attendance.clean, saga.resume, attendance.remain, saga.look_later):
                try:
                    task()
                except (RagRecError, OSError) as error:
                    log.error("removal_unfinished", code=getattr(error, "code", "disk"))

    def saga(self) -> Saga:
        """Carries removals out in this process. Raises ``WrongKey`` as :meth:`system`."""
        return Saga(self.system(), turn=self._turn)

    def system(self) -> System:
        """The system with the state that answers now.

        Raises:
            WrongKey: the ledger was signed with another key meanwhile.
        """
        return open_system(self._settings, self._store, self._pseudonyms, self._current.live, self._attendance.replica)

    def close(self) -> None:
        """End the process of the removals."""
        if self._removals is not None:
            self._removals.close()

    def _forget(self, request: ForgetRequest) -> ForgetOutcome:
        with self._turn:
            self._store.check()  # before anything is made beside a store that is not there any more
            if self._removals is None:
                return self.saga().forget(request)
            try:
                return self._removals.forget(request, self._current.live, self._attendance.replica)
            except Lost:
                self.removal_process_losses += 1
                log.error("removal_process_lost")
                # Whatever was left, from nothing to nearly all, is gone on with here: to the caller it is one command.
                return replace(self.saga().forget(request), repeated=False)
