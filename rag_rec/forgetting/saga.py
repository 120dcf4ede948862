"""Carries out forget requests: acceptance, the re-runnable steps, and the receipt.

Acceptance is one transaction of the store; from then on the request is in force, whatever happens to this process. The
steps are run for a whole group of requests at once. What they leave undone is taken up again by :meth:`Saga.resume`:
when an engine opens, at every refresh of a service, or by command.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from filelock import FileLock, Timeout

from rag_rec.adapters.finding import AdapterFindings
from rag_rec.adapters.lineage import ensure_lineage
from rag_rec.adapters.memory import wait_for_release
from rag_rec.artifacts.private import FILE_MODE, make_private_folder
from rag_rec.clock import now_ms
from rag_rec.errors import Busy, RagRecError, Unfinished, UnknownRequest
from rag_rec.forgetting.acceptance import Acceptance
from rag_rec.forgetting.freed import FreedMemory
from rag_rec.forgetting.plan import Plan, Planner
from rag_rec.forgetting.receipts.conclusion import ORDER, Notary, advanced, findings_of, manifest_digest, state_of
from rag_rec.forgetting.receipts.records import services, summed
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.steps.attempt import attempt, noted_in
from rag_rec.forgetting.steps.database import ScrubDatabase
from rag_rec.forgetting.steps.elsewhere import waits_for_places
from rag_rec.forgetting.steps.indices import RewriteIndices
from rag_rec.forgetting.steps.memory import FollowErasure
from rag_rec.forgetting.steps.protocol import Step
from rag_rec.forgetting.steps.reader import ReaderFindings
from rag_rec.forgetting.steps.remaining import StateRemaining
from rag_rec.forgetting.steps.temporary import SweepTemporary
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import FINAL, Finding
from rag_rec.presence.awaited import awaited
from rag_rec.store.records import ForgetRecord, ForgetState, Place

LOCK: Final = ".forget.lock"
LOCK_SECONDS: Final = 60.0


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds spent in each step."""

    started: float = field(default_factory=time.perf_counter)
    steps: dict[str, float] = field(default_factory=dict)

    def lap(self, step: str) -> None:
        """Note the time since the last lap under a step's name."""
        now = time.perf_counter()
        self.steps[step] = round((now - self.started) * 1000, 3)
        self.started = now


class Saga:
    """Forget requests of one system, one group at a time across threads and processes.

    Args:
        system: what is reached.
        steps: run in this order after acceptance; by default all there are.
        turn: held while a group is carried out; the same one for all sagas of a process.
    """

    def __init__(
        self, system: System, steps: Sequence[Step] | None = None, turn: threading.RLock | None = None
    ) -> None:
        self._system = system
        self._store = system.store
        self._planner = Planner(system)
        self._acceptance = Acceptance(system, self._planner)
        self._notary = Notary(system)
        self._steps = all_steps(system) if steps is None else steps
        self._turn = turn or threading.RLock()
        self._process = FileLock(system.settings.home / LOCK, timeout=LOCK_SECONDS, mode=FILE_MODE)

    def plan(self, request: ForgetRequest) -> Plan:
        """What a request would remove. Changes nothing.

        Raises:
            InvalidInput: it means nothing.
            UnknownUser: there is no such user (any more).
        """
        request.check()
        ensure_lineage(self._store, self._system.compact)
        return self._planner.plan(request)

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Carry out a request; one that was carried out before gives the same receipts again.

        Raises:
            InvalidInput: it means nothing.
            ConfirmationRequired: it does not quote subject and plan.
            UnknownUser: there is no such user (any more).
            PlanChanged: the quoted plan is not what would be removed now.
            LegalHold: somebody may not be forgotten.
            Busy: another process is removing somebody for too long; nothing was accepted.
            Unfinished: the request is in force, and a step of it failed.
        """
        request.check()
        request.check_confirmed()
        with self._alone():
            before = self._repeated(request)
            if before:
                with _in_force():
                    records = self._in_order(request, self._resume(before))
                    self._notary.copy_ledger()  # perhaps that is what failed before
                    return _outcome(records, repeated=True)
            watch, index = Stopwatch(), manifest_digest(self._system)
            accepted = self._acceptance.accept(request)
            with _in_force():
                self._follow()
                watch.lap("accept")
                return _outcome(self._in_order(request, self._carry_out(accepted, watch, index)))

    def resume(self) -> int:
        """Finish what was accepted and not finished. Returns how many requests are complete now that were not.

        Where another process is at work, it does nothing: that one finishes its request, and this is called again.
        """
        failures: list[Exception] = []
        with noted_in(failures):  # a copy that cannot be made keeps back no removal
            self._notary.copy_ledger()
        complete = self._finish_open()
        if failures:
            raise failures[0]
        return complete

    def settle(self, waited: Sequence[ForgetRecord] | None = None) -> int:
        """Look again at what waits for an adapter.

        Running services get the time of ``RAGREC_REPLICA_WAIT_MS`` to let go of an adapter that was destroyed. One that
        needs longer completes the requests itself when it has let go.

        Args:
            waited: requests that were open before the adapter was replaced; by default those that are open now.

        Returns:
            How many of them are complete now. A running service may have completed some of them first.
        """
        waited = self.pending() if waited is None else waited
        if self.pending():
            system = self._system
            wait_for_release(self._store, system.compact, system.settings.replica_wait_ms, place=system.place)
        with self._alone():
            self.resume()
        left = {record.request_id for record in self.pending()}
        return sum(record.request_id not in left for record in waited)

    def look_later(self, *, all_of_them: bool = False) -> int:
        """Look again at freed memory, which holds no request back. Returns how many receipts say more now.

        Costs one query where no process has ended since. Called in this folder's turn.

        Args:
            all_of_them: also where no process is known to have ended since receipts were last looked at.
        """
        freed = FreedMemory(self._store)
        due = [self.record(request_id) for request_id in freed.due(all_of_them=all_of_them)]
        if due:
            self._notary.issue([(each, _revised(each, freed.of(each.epoch_after))) for each in due], now_ms())
        else:
            freed.settle()  # and not before: a receipt may have been issued by others meanwhile
        return len(due)

    def services(self) -> dict[str, str]:
        """Host and process of the running services by their id."""
        return services(self._store)

    def record(self, request_id: str) -> ForgetRecord:
        """What became of a request. Raises ``UnknownRequest``."""
        record = self._store.forget_record(request_id)
        if record is None:
            raise UnknownRequest("There is no forget request with this id.")
        return record

    def records(self, request_id: str) -> list[ForgetRecord]:
        """What became of a request, or of every request of a batch in its order. Raises ``UnknownRequest``."""
        return self._store.forget_records(batch_id=request_id) or [self.record(request_id)]

    def pending(self) -> list[ForgetRecord]:
        """Requests that are not complete, oldest first."""
        return self._store.forget_records(pending=True)

    def add_proof(self, request_id: str, proof: Mapping[str, Any]) -> ForgetRecord:
        """Add the table of a twin proof to a receipt: a new revision of it, for which the reader is looked at again.

        Raises ``UnknownRequest``.
        """
        with self._alone():
            record = self.record(request_id)
            findings = _revised(record, self._readers().of(record.epoch_after))
            return self._notary.issue([(record, findings)], now_ms(), twin=proof)[0]

    @contextmanager
    def turn_if_free(self) -> Iterator[bool]:
        """The turn of this folder, which removals take, if it is free: whether it was got. Waits for nothing."""
        self._system.settings.home.mkdir(parents=True, exist_ok=True)
        if not self._turn.acquire(blocking=False):
            yield False
            return
        try:
            got = self._locked()
            try:
                yield got
            finally:
                if got:
                    self._process.release()
        finally:
            self._turn.release()

    def _locked(self) -> bool:
        try:
            self._process.acquire(timeout=0)
        except Timeout:
            return False
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        make_private_folder(self._system.settings.home)
        try:
            with self._turn, self._process:
                yield
        except Timeout:
            raise Busy("Another process is forgetting somebody; try again when it has finished.") from None

    def _repeated(self, request: ForgetRequest) -> list[ForgetRecord]:
        """The records of an earlier request of the same plan for the same people."""
        records = self._store.forget_records(plan=request.plan)
        asked = {self._system.pseudonyms.user(user_id) for user_id in request.user_ids}
        return records if {record.subject for record in records} == asked else []

    def _in_order(self, request: ForgetRequest, records: Sequence[ForgetRecord]) -> list[ForgetRecord]:
        """Records in the order in which the request names their people."""
        places = {self._system.pseudonyms.user(user_id): place for place, user_id in enumerate(request.user_ids)}
        return sorted(records, key=lambda record: places[record.subject])

    def _finish_open(self) -> int:
        if not self._open():
            return 0
        with self.turn_if_free() as mine:
            records = self._resume(self._open()) if mine else []
        return sum(record.state is ForgetState.COMPLETE for record in records)

    def _open(self) -> list[ForgetRecord]:
        """Requests of which something can be done now: not those that wait for an adapter that is still there, or for
        other places that have not reported yet.

        The queries are as many for a thousand waiting requests as for one: a service asks this at every refresh.
        """
        pending = self.pending()
        if not pending:
            return []
        adapters = self._adapters()
        started = [each for each in pending if each.user_number is not None]
        places = self._store.places() if started else []
        waiting = {each.request_id for each in started if self._waits_elsewhere(each, places)}
        waiting |= {
            each.request_id for each in pending if each.user_number is None and not _is_final(adapters.of(each))
        }
        return [each for each in pending if each.request_id not in waiting]

    def _waits_elsewhere(self, record: ForgetRecord, places: Sequence[Place]) -> bool:
        """Whether other places have to report first, and nothing else is left to do."""
        waiting = awaited(places, record.epoch_after, self._system.place)
        return bool(waiting) and waits_for_places(findings_of(record))

    def _resume(self, records: Sequence[ForgetRecord]) -> list[ForgetRecord]:
        """Records as they are after another attempt at what is open of them."""
        complete = [record for record in records if record.state is ForgetState.COMPLETE]
        started = [record for record in records if record.user_number is not None]
        waiting = [record for record in records if record.user_number is None and record not in complete]
        index = manifest_digest(self._system)
        looked_at = self._look_again(waiting)  # before the others: what stops them keeps back none of these
        finished = self._carry_out(started, Stopwatch(), index) if started else []
        return [*complete, *finished, *looked_at]

    def _carry_out(self, records: Sequence[ForgetRecord], watch: Stopwatch, index: str | None) -> list[ForgetRecord]:
        """Records after an attempt at every step. Failures are raised once the receipts say what is open."""
        findings, failures = attempt(self._steps, records, watch.lap)
        timed = [replace(record, timings_ms={**record.timings_ms, **watch.steps}) for record in records]
        adapters = self._adapters()
        concluded = self._conclude([(record, [*findings, adapters.of(record)]) for record in timed], index)
        if failures:
            raise failures[0]
        return concluded

    def _follow(self) -> None:
        """Subtract in memory at once, since every answer waits for it; the steps look at it again."""
        if self._system.live is not None:
            self._system.live.follow()

    def _look_again(self, records: Sequence[ForgetRecord]) -> list[ForgetRecord]:
        """Records that wait for their adapter; a new receipt also says how the reader is by then."""
        adapters, readers = self._adapters(), self._readers()
        final, open_still = [], []
        for record in records:
            finding = adapters.of(record)
            if _is_final(finding):
                final.append((record, _revised(record, finding, readers.of(record.epoch_after))))
            else:
                open_still.append(record)
        return [*open_still, *self._conclude(final, None)]

    def _conclude(
        self, found: Sequence[tuple[ForgetRecord, Sequence[Finding]]], index: str | None
    ) -> list[ForgetRecord]:
        """Records in the state that the findings mean. Receipts that would say the same of every layer stay."""
        now = now_ms()
        same, concluded = [], []
        for record, findings in found:
            state = state_of(findings)
            if state is not record.state or _is_news(record, findings):
                concluded.append((advanced(record, state, now), findings))
            else:
                same.append(record)
        return [*same, *(self._notary.issue(concluded, now, index) if concluded else [])]

    def _readers(self) -> ReaderFindings:
        return ReaderFindings(self._system.generations)

    def _adapters(self) -> AdapterFindings:
        return AdapterFindings(self._store, self._system.compact, self._system.settings, self._system.place)


def all_steps(system: System) -> list[Step]:
    """Every step, in order."""
    return [
        ScrubDatabase(system),
        RewriteIndices(system),
        SweepTemporary(system),
        FollowErasure(system),
        StateRemaining(system),
    ]


def _is_final(finding: Finding) -> bool:
    return finding.status in FINAL


def _is_news(record: ForgetRecord, findings: Sequence[Finding]) -> bool:
    """Whether the record has no receipt yet, or one that says otherwise of a layer."""
    said = {(each.layer, each.status) for each in findings_of(record)}
    return said != {(each.layer, each.status) for each in findings}


def _revised(record: ForgetRecord, *looked_at: Finding) -> list[Finding]:
    """What the record's receipt says, with other findings of the layers that have been looked at again."""
    again = {finding.layer: finding for finding in looked_at}
    return [again.get(each.layer, each) for each in findings_of(record)]


def _outcome(records: Sequence[ForgetRecord], *, repeated: bool = False) -> ForgetOutcome:
    first = records[0]
    return ForgetOutcome(
        request_id=first.batch_id or first.request_id,
        requests=tuple(record.request_id for record in records),
        state=min((record.state for record in records), key=ORDER.index).value,
        scope=first.scope,
        epoch_before=min(record.epoch_before for record in records),
        epoch_after=max(record.epoch_after for record in records),
        removed=summed(records),
        timings_ms=first.timings_ms,
        repeated=repeated,
    )


@contextmanager
def _in_force() -> Iterator[None]:
    """Around what follows acceptance: whatever fails there, the caller must learn that the request is accepted."""
    try:
        yield
    except (RagRecError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise Unfinished(
            "The request is in force: what was to go cannot be seen any more. It is not finished; a running service, "
            f"or `rag-rec forget resume`, takes it up again. What stopped it: {what}"
        ) from error
