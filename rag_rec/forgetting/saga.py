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
from typing import Any

from rag_rec.clock import now_ms
from rag_rec.errors import RagRecError, Unfinished, UnknownRequest
from rag_rec.forgetting.acceptance import Acceptance
from rag_rec.forgetting.attempt import attempt, noted_in
from rag_rec.forgetting.plan import Plan, Planner
from rag_rec.forgetting.receipts.conclusion import ORDER, ReceiptIssuer, advanced, findings_of, state_of
from rag_rec.forgetting.receipts.records import services, summed
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.forgetting.system import System
from rag_rec.forgetting.turn import Turn
from rag_rec.layers.finding import FINAL, STATES, Finding
from rag_rec.layers.protocol import LaterLayer, Layer
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.presence.awaited import awaited
from rag_rec.presence.elsewhere import waits_for_places
from rag_rec.store.records import Place


@dataclass(slots=True)
class Stopwatch:
    """Milliseconds spent in each step."""

    started: float = field(default_factory=time.perf_counter)
    steps: dict[str, float] = field(default_factory=dict)

    def lap(self, step: str) -> None:
        """Add the time since the last lap to a step's."""
        now = time.perf_counter()
        self.steps[step] = round(self.steps.get(step, 0.0) + (now - self.started) * 1000, 3)
        self.started = now


class Saga:
    """Forget requests of one system, one group at a time across threads and processes.

    Args:
        system: what is reached.
        layers: remove in this order after acceptance; by default all there are.
        turn: held while a group is carried out; the same one for all sagas of a process.
    """

    def __init__(
        self, system: System, layers: Sequence[Layer] | None = None, turn: threading.RLock | None = None
    ) -> None:
        self._system = system
        self._store = system.store
        self._planner = Planner(system)
        self._acceptance = Acceptance(system, self._planner)
        self._issuer = ReceiptIssuer(system)
        self._layers = system.layers if layers is None else layers
        self._states = {**STATES, **{layer.name: layer.state for layer in self._layers}}
        self.turn = Turn(system.settings.home, turn or threading.RLock())

    def plan(self, request: ForgetRequest) -> Plan:
        """What a request would remove. Changes nothing.

        Raises:
            InvalidInput: it means nothing.
            UnknownUser: there is no such user (any more).
        """
        request.check()
        return self._planner.plan(request)

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Carry out a request; one that was carried out before gives the same receipts again.

        Raises:
            InvalidInput: it means nothing.
            ConfirmationRequired: it does not quote subject and plan.
            UnknownUser: there is no such user (any more).
            PlanChanged: the quoted plan is not what would be removed now.
            LegalHold: a person may not be forgotten.
            Busy: another process is removing a person for too long; nothing was accepted.
            Unfinished: the request is in force, and a step of it failed.
        """
        request.check()
        request.check_confirmed()
        with self.turn.taken():
            before = self._repeated(request)
            if before:
                with _in_force():
                    records = self._in_order(request, self._resume(before))
                    self._issuer.copy_ledger()  # perhaps that is what failed before
                    return _outcome(records, repeated=True)
            watch, index = Stopwatch(), self._system.index_digest()
            accepted = self._acceptance.accept(request)
            with _in_force():
                watch.lap("accept")
                return _outcome(self._in_order(request, self._carry_out(accepted, watch, index)))

    def resume(self) -> int:
        """Finish what was accepted and not finished. Returns how many requests are complete now that were not.

        Where another process is at work, it does nothing: that one finishes its request, and this is called again.
        """
        failures: list[Exception] = []
        with noted_in(failures):  # a copy that cannot be made keeps back no removal
            self._issuer.copy_ledger()
        complete = self._finish_open()
        if failures:
            raise failures[0]
        return complete

    def settle(self, waited: Sequence[ForgetRecord] | None = None) -> int:
        """Look again at what waits for a layer that may outlast the others: an adapter.

        Its ``remove`` is called again, in which running services get the time of ``RAGREC_REPLICA_WAIT_MS`` to let go
        of what is gone from the disk. One that needs longer completes the requests itself when it has let go.

        Args:
            waited: requests that were open before the adapter was replaced; by default those that are open now.

        Returns:
            How many of them are complete now. A running service may have completed some of them first.
        """
        waited = self.pending() if waited is None else waited
        effective = [record for record in self.pending() if record.user_number is None]
        for layer in self._lasting if effective else []:
            layer.remove(effective)
        with self.turn.taken():
            self.resume()
        left = {record.request_id for record in self.pending()}
        return sum(record.request_id not in left for record in waited)

    def look_later(self, *, all_of_them: bool = False) -> int:
        """Look again at the layers for which no request waits. Returns how many receipts say more now.

        Costs one query where nothing has happened since. Called in this folder's turn.

        Args:
            all_of_them: also where nothing is known to have happened since receipts were last looked at.
        """
        later = [layer for layer in self._layers if isinstance(layer, LaterLayer)]
        return sum(self._look_later(layer, all_of_them) for layer in later)

    def _look_later(self, layer: LaterLayer, all_of_them: bool) -> int:
        due = [self.record(request_id) for request_id in layer.due(all_of_them=all_of_them)]
        if due:
            found = zip(due, layer.look(due), strict=True)
            self._issuer.issue([(each, _revised(each, finding)) for each, finding in found], now_ms())
        else:
            layer.settle()  # and not before: a receipt may have been issued by others meanwhile
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
        """Add the table of a twin proof to a receipt: a new revision of it, for which the layers that no step of a
        removal changes, such as the reranker, are looked at again.

        Raises ``UnknownRequest``.
        """
        with self.turn.taken():
            record = self.record(request_id)
            unchanged = [layer for layer in self._lasting if layer.state is ForgetState.COMPLETE]
            findings = _revised(record, *self._looked_at(unchanged, [record])[0])
            return self._issuer.issue([(record, findings)], now_ms(), twin=proof)[0]

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
        with self.turn.taken_if_free() as mine:
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
        started = [each for each in pending if each.user_number is not None]
        places = self._store.places() if started else []
        waiting = {each.request_id for each in started if self._waits_elsewhere(each, places)}
        effective = [each for each in pending if each.user_number is None]
        found = self._looked_at(self._open_layers(effective), effective)
        waiting |= {
            each.request_id for each, findings in zip(effective, found, strict=True) if not _are_final(findings)
        }
        return [each for each in pending if each.request_id not in waiting]

    def _open_layers(self, effective: Sequence[ForgetRecord]) -> list[Layer]:
        """The lasting layers that keep any of these from its next state. No receipt is read: there may be many."""
        following = {ORDER[ORDER.index(record.state) + 1] for record in effective}
        return [layer for layer in self._lasting if layer.state in following]

    @property
    def _lasting(self) -> list[Layer]:
        """The layers that may be open when a request is effective already."""
        return [layer for layer in self._layers if layer.state in {ForgetState.UNLEARNED, ForgetState.COMPLETE}]

    @staticmethod
    def _looked_at(layers: Sequence[Layer], records: Sequence[ForgetRecord]) -> list[list[Finding]]:
        """What is found of each record in these layers."""
        by_layer = [layer.look(records) for layer in layers] if records else []
        return [[findings[place] for findings in by_layer] for place in range(len(records))]

    def _waits_elsewhere(self, record: ForgetRecord, places: Sequence[Place]) -> bool:
        """Whether other places have to report first, and nothing else is left to do."""
        waiting = awaited(places, record.epoch_after, self._system.place)
        return bool(waiting) and waits_for_places(findings_of(record))

    def _resume(self, records: Sequence[ForgetRecord]) -> list[ForgetRecord]:
        """Records as they are after another attempt at what is open of them."""
        complete = [record for record in records if record.state is ForgetState.COMPLETE]
        started = [record for record in records if record.user_number is not None]
        waiting = [record for record in records if record.user_number is None and record not in complete]
        index = self._system.index_digest()
        looked_at = self._look_again(waiting)  # before the others: what stops them keeps back none of these
        finished = self._carry_out(started, Stopwatch(), index) if started else []
        return [*complete, *finished, *looked_at]

    def _carry_out(self, records: Sequence[ForgetRecord], watch: Stopwatch, index: str | None) -> list[ForgetRecord]:
        """Records after an attempt at every layer. Failures are raised once the receipts say what is open."""
        findings, failures = attempt(self._layers, records, watch.lap)
        timed = [replace(record, timings_ms={**record.timings_ms, **watch.steps}) for record in records]
        concluded = self._conclude(list(zip(timed, findings, strict=True)), index)
        if failures:
            raise failures[0]
        return concluded

    def _look_again(self, records: Sequence[ForgetRecord]) -> list[ForgetRecord]:
        """Records that wait for a lasting layer; a new receipt also says how the other lasting ones are by then."""
        final, open_still = [], []
        for record, findings in zip(records, self._looked_at(self._lasting, records), strict=True):
            if _are_final(findings):
                final.append((record, _revised(record, *findings)))
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
            state = state_of(findings, self._states)
            if state is not record.state or _is_news(record, findings):
                concluded.append((advanced(record, state, now), findings))
            else:
                same.append(record)
        return [*same, *(self._issuer.issue(concluded, now, index) if concluded else [])]


def _are_final(findings: Sequence[Finding]) -> bool:
    return all(finding.status in FINAL for finding in findings)


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
