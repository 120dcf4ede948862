"""What a privacy officer asks of a running system. :class:`rag_rec.engine.engine.Engine` is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from rag_rec.domain import User
from rag_rec.engine.removals.process import Lost, RemovalProcess
from rag_rec.engine.system import open_system
from rag_rec.errors import Busy, DiskFull, NotReady, RagRecError, StoreAway, StoreLost
from rag_rec.forgetting.audit.trail import Deed, deeds, note
from rag_rec.forgetting.plan import Plan
from rag_rec.forgetting.receipts.records import record_of
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.rights.access import export
from rag_rec.forgetting.rights.identity import Identities
from rag_rec.forgetting.saga import Saga
from rag_rec.forgetting.system import System
from rag_rec.home.keys import open_pseudonyms
from rag_rec.index.live import Live
from rag_rec.layers.records import ForgetRecord
from rag_rec.places.cleaning import Cleaner
from rag_rec.places.occupation import Occupation
from rag_rec.presence import processes
from rag_rec.presence.remnants import Remnants
from rag_rec.presence.replicas import Presence
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.proof.table import compare, proof_table
from rag_rec.proof.twin import build_twin
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Hold, ServiceProcess, StoredInteraction, Suppression
from rag_rec.vectors.protocol import Embedder

log = structlog.get_logger()


def _nothing() -> None:
    """Answers that nobody sends have left when they are made."""


class Privacy:
    """Access, forgetting, proof, consent and legal holds, over one store and the state in memory. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        embedder: Embedder,
        live: Live,
        removals: RemovalProcess | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.embedder = embedder
        self._live = live
        self._presence = Presence(store)
        self._turn = threading.RLock()
        self._attending = threading.Lock()
        self._let_answers_leave: Callable[[], None] = _nothing
        self._place: Occupation | None = None
        self._process: ServiceProcess | None = None
        self._pseudonyms = open_pseudonyms(settings)
        self._removals = removals
        self._remnants = Remnants(store) if settings.overwrite_freed else None
        self._losses = 0

    @property
    def live(self) -> Live:
        """The state that answers at present."""
        return self._live

    @property
    def removal_process_losses(self) -> int:
        """How often the process that carries removals out was lost while it did; each was finished here."""
        return self._losses

    def export(self, user_id: str) -> tuple[User, list[StoredInteraction]]:
        """Everything stored about a user (right of access), as of one moment. The ledger says who asked."""
        exported = export(self.store, user_id)
        note(self._system(), "export", subject=self._pseudonyms.user(user_id))
        return exported

    def plan(self, request: ForgetRequest) -> Plan:
        """What a request would remove, and the hash by which it is agreed to. Changes nothing."""
        return self._saga().plan(request)

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Remove people, or some of a person's interactions, from every layer. See :meth:`Saga.forget`."""
        with self._turn:
            self.store.check()  # before anything is made beside a store that is not there any more
            if self._removals is None:
                return self._saga().forget(request)
            try:
                return self._removals.forget(request, self._live, self._presence.id)
            except Lost:
                self._losses += 1
                log.error("removal_process_lost")
                # Whatever was left, from nothing to nearly all, is gone on with here: to the caller it is one command.
                return replace(self._saga().forget(request), repeated=False)

    def forget_records(self, request_id: str) -> list[ForgetRecord]:
        """What became of a forget request, or of every request of a batch. Raises ``UnknownRequest``."""
        return self._saga().records(request_id)

    def pending(self) -> list[ForgetRecord]:
        """Forget requests that are not complete."""
        return self.store.forget_records(pending=True)

    def forget_requests(self, *, pending: bool = False, newest: int | None = None) -> list[ForgetRecord]:
        """Forget requests, oldest first: only those that are not complete, and of them the ``newest`` so many."""
        return self.store.forget_records(pending=pending, newest=newest)

    def find(self, user_id: str) -> list[ForgetRecord]:
        """The forget requests about a person, oldest first, by the id that the person has or had."""
        return self.store.forget_records(subject=self._pseudonyms.user(user_id))

    def receipt(self, request_id: str) -> str:
        """The latest receipt of a request, signed JSON.

        Raises:
            UnknownRequest: there is no such request, or it is a batch; the message says how to get at its requests.
            NotReady: it has no receipt yet.
        """
        receipt = record_of(self.store, request_id).receipt
        if receipt is None:
            raise NotReady("The request has been accepted and has no receipt yet; try again in a moment.")
        return receipt

    def public_key(self) -> str:
        """The key by which receipts are verified, as PEM."""
        return self._system().signer.public_pem

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
        live = self._live
        twin = build_twin(live, self.store, self.settings, self.embedder, progress)
        table = proof_table(compare(live, twin, sample, self.settings.seed, progress))
        if self._live is not live:
            raise Busy("Another index was taken up while the proof was made; try again. The receipt is as it was.")
        progress.stage("sign the receipt", 0)
        self._saga().add_proof(request_id, table)
        note(self._system(), "prove", request=request_id)
        return table

    def consent(self, user_id: str) -> Suppression:
        """Open a new identity for a forgotten person. Raises ``UnknownUser`` if nobody of this id was forgotten."""
        return self._identities().consent(user_id)

    def hold(self, user_id: str, reason: str) -> Hold:
        """Forbid that a person is forgotten, for a legal reason."""
        return self._identities().hold(user_id, reason)

    def release(self, user_id: str) -> None:
        """Lift a legal hold."""
        self._identities().release(user_id)

    def audit(self, after: int = 0, limit: int | None = None) -> list[Deed]:
        """What was done, and by whom, oldest first. See :func:`rag_rec.forgetting.audit.trail.deeds`."""
        return deeds(self.store, after, limit)

    def holds(self) -> list[Hold]:
        """All legal holds, by time. They name people by pseudonym."""
        return self.store.holds()

    def join(self, let_answers_leave: Callable[[], None] = lambda: None, instead_of: str | None = None) -> None:
        """Go on the list of live replicas: forget requests elsewhere wait until this memory has followed.

        Args:
            let_answers_leave: waits until every answer that was begun by now has left; called before others are told.
            instead_of: see :meth:`Presence.join`.
        """
        self._let_answers_leave = let_answers_leave
        self._presence.join(self._live.epoch, self._adapters(), let_answers_leave, instead_of)

    def stay(self) -> None:
        """Remain on the list of live replicas while a refresh takes long. See :meth:`Presence.stay`."""
        self._presence.stay()

    def term(self) -> int | None:
        """The number of the present term on the list of live replicas; None while the lease is over, and nothing
        personal may leave. What was begun in one term must not leave in another. See :class:`Presence`."""
        return self._presence.term

    def attend(self) -> bool:
        """Follow the store at once where somebody was forgotten, and say so. Waits for no other removal.

        Called many times a second: it reads one number where nothing happened. A lease that is over begins anew here.

        Returns:
            Whether somebody was forgotten since this was called last, or the lease was over.
        """
        if not self._attending.acquire(blocking=False):
            return False
        try:
            erased = self.store.erasure_epoch()
            news = erased > self._presence.said or self._presence.term is None
            if news:
                self._live.follow()
                self._say()
            return news
        finally:
            self._attending.release()

    def _keep_up(self) -> None:
        """Follow the store, say so, clean the data folder, and take up what is unfinished.

        What cannot be finished at present, because a disk is full or an old index is damaged, must not keep back a
        service that can answer: it is logged, and shows in the age of the oldest pending request.
        """
        self._live.follow()
        self._say()
        if self._remnants is not None:
            self._remnants.let_go_of_removed()
        saga = self._saga()
        with saga.turn.taken_if_free() as mine:
            if not mine:
                return
            for task in (self._clean, saga.resume, self._remain, saga.look_later):
                try:
                    task()
                except (RagRecError, OSError) as error:
                    log.error("removal_unfinished", code=getattr(error, "code", "disk"))

    def _clean(self) -> None:
        if self._place is not None:
            self._place.beat()
            Cleaner(self.settings, self.store, self._place).clean()

    def _remain(self) -> None:
        """See that this process is on the list of those that may hold something in freed memory: others take one that
        was silent for long off it."""
        if self._process is not None and self._process.id not in {each.id for each in self.store.processes()}:
            self.store.put_process(self._process)

    def _say(self) -> None:
        known = self._presence.id
        if not self._presence.beat(self._live.epoch, self._adapters()):
            log.warning("replica_rejoins")  # it was silent for too long, and nobody waits for it any more
            self.join(self._let_answers_leave, known)

    def _adapters(self) -> tuple[str, ...]:
        """Digests of the adapters in memory, sorted; none where nothing generates."""
        return ()

    def _leave(self) -> None:
        served = self._presence.id is not None
        with _even_without_a_store():
            self._presence.leave()
        if served and self._process is not None:  # a program that uses the library may go on for long after this
            with _even_without_a_store():
                processes.leave(self.store, self._process)
        if self._place is not None:
            with _even_without_a_store():
                self._place.close()
        if self._removals is not None:
            self._removals.close()

    def _saga(self) -> Saga:
        return Saga(self._system(), turn=self._turn)

    def _identities(self) -> Identities:
        return Identities(self._system())

    def _system(self) -> System:
        return open_system(self.settings, self.store, self._pseudonyms, self._live, self._presence.id)


@contextmanager
def _even_without_a_store() -> Iterator[None]:
    """Around what says goodbye in the store: one that is lost, away or full keeps nobody from ending."""
    try:
        yield
    except (StoreAway, StoreLost, DiskFull) as error:  # what others wait for ends by itself
        log.error("leave_failed", code=error.code)
