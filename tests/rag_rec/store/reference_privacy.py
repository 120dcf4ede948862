"""The reference store's part of forgetting."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rag_rec.domain import Interaction, User
from rag_rec.errors import BrokenLedger, Busy, LegalHold, PlanChanged, UnknownPlace, UnknownUser
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.records import Erasure, ForgetRecord, ForgetState
from rag_rec.store.protocol import Accepted, Compose
from rag_rec.store.records import (
    ChangeKind,
    Debt,
    Hold,
    LedgerEntry,
    LedgerTip,
    MeasuredRemoval,
    Place,
    Replica,
    ServiceProcess,
    Suppression,
)

PSEUDONYMS = Pseudonyms(bytes(range(32)))


@dataclass
class ReferencePrivacy:
    """What is kept of people who were, are being, or may not be forgotten."""

    people: dict[int, User] = field(default_factory=dict)
    rows: dict[int, tuple[int, Interaction]] = field(default_factory=dict)
    records: dict[str, ForgetRecord] = field(default_factory=dict)
    entries: list[LedgerEntry] = field(default_factory=list)
    listed: dict[str, Suppression] = field(default_factory=dict)
    on_hold: dict[str, Hold] = field(default_factory=dict)
    alive: dict[str, Replica] = field(default_factory=dict)
    running: dict[str, ServiceProcess] = field(default_factory=dict)
    folders: dict[str, Place] = field(default_factory=dict)
    seen: dict[tuple[str, int], int] = field(default_factory=dict)
    owed: set[tuple[str, str]] = field(default_factory=set)
    told: dict[tuple[str, str], str] = field(default_factory=dict)
    name: str = field(default_factory=lambda: secrets.token_hex(16))
    erased_at: int = 0
    refused: int = 0

    def epoch(self) -> int:
        raise NotImplementedError

    def _record(self, kind: ChangeKind, numbers: Sequence[int]) -> None:
        raise NotImplementedError

    def identity(self) -> str:
        return self.name

    def erasure_epoch(self) -> int:
        return self.erased_at

    def accept(self, erasures: Sequence[Erasure], ledger: Accepted) -> list[ForgetRecord]:
        for hold in sorted(self.on_hold.values(), key=lambda hold: hold.created):
            if any(erasure.subject == hold.subject for erasure in erasures):
                raise LegalHold(hold.reason)
        if len({erasure.user_number for erasure in erasures} & self.people.keys()) < len(erasures):
            raise PlanChanged("a person is gone")
        records = [self._accepted(erasure, at) for at, erasure in enumerate(erasures, 1)]
        self._extend(ledger(self._tip(), records) if erasures else [])
        for erasure in erasures:
            self._erase(erasure)
            self.erased_at = self.epoch()
        self.records |= {record.request_id: record for record in records}
        return records

    def extend_ledger(self, compose: Compose) -> None:
        entries, records = compose(self._tip())
        self._extend(entries)
        self.records |= {record.request_id: record for record in records}

    def ledger(self, after: int = 0) -> list[LedgerEntry]:
        return self.entries[after:]

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        return self.records.get(request_id)

    def forget_records(
        self,
        *,
        plan: str | None = None,
        batch_id: str | None = None,
        subject: str | None = None,
        pending: bool = False,
        newest: int | None = None,
    ) -> list[ForgetRecord]:
        chosen = [
            record
            for record in self.records.values()
            if plan in {None, record.plan}
            and batch_id in {None, record.batch_id}
            and subject in {None, record.subject}
            and not (pending and record.state is ForgetState.COMPLETE)
        ]
        ordered = sorted(chosen, key=lambda record: (record.created, record.epoch_after))
        return ordered if newest is None else ordered[max(len(ordered) - newest, 0) :]

    def suppressions(self, subjects: Sequence[str]) -> list[Suppression]:
        chosen = [entry for entry in self.listed.values() if entry.subject in subjects]
        return sorted(chosen, key=lambda entry: (entry.subject, entry.digest))

    def suppressed_events(self) -> int:
        return self.refused

    def consent(self, subject: str, time: int, ledger: Callable[[LedgerTip, Suppression], LedgerEntry]) -> Suppression:
        known = self.listed.get(subject)
        if known is None or known.subject != subject:
            raise UnknownUser("not forgotten")
        if known.consented is not None:
            return known
        opened = replace(known, identity=known.identity + 1, consented=time)
        self._extend([ledger(self._tip(), opened)])
        self.listed[subject] = opened
        return opened

    def put_hold(self, hold: Hold) -> None:
        self.on_hold[hold.subject] = hold

    def drop_hold(self, subject: str) -> bool:
        return self.on_hold.pop(subject, None) is not None

    def holds(self) -> list[Hold]:
        return sorted(self.on_hold.values(), key=lambda hold: (hold.created, hold.subject))

    def beat(self, replica: Replica) -> None:
        self.alive[replica.id] = replica

    def renew(self, replica: Replica) -> bool:
        if replica.id not in self.alive:
            return False
        self.alive[replica.id] = replica
        return True

    def drop_silent(self, replica: Replica) -> None:
        if self.alive.get(replica.id) == replica:
            del self.alive[replica.id]

    def put_place(self, place: Place) -> None:
        self.folders[place.id] = place

    def places(self) -> list[Place]:
        return [self.folders[name] for name in sorted(self.folders)]

    def retire_place(
        self, place_id: str, time: int, reason: str, ledger: Callable[[LedgerTip, Place], LedgerEntry]
    ) -> Place:
        known = self.folders.get(place_id)
        if known is None or known.retired is not None:
            raise UnknownPlace("no such place")
        retired = replace(known, retired=time, reason=reason)
        self._extend([ledger(self._tip(), retired)])
        self.folders[place_id] = retired
        elsewhere = {name for place in self.folders.values() if place.retired is None for name in place.adapters}
        owing = {name for _, name in (*self.owed, *self.told)}
        self.drop_lineage([name for name in retired.adapters if name in owing and name not in elsewhere])
        return retired

    def leave(self, replica_id: str) -> None:
        self.alive.pop(replica_id, None)

    def replicas(self) -> list[Replica]:
        return [self.alive[name] for name in sorted(self.alive)]

    def put_process(self, process: ServiceProcess) -> None:
        self.running[process.id] = process

    def mark_processes(self, ids: Sequence[str], *, ended: bool, seen: int) -> None:
        for each in ids:
            if each in self.running:
                before = self.running[each]
                self.running[each] = replace(before, ended=True) if ended else replace(before, seen=seen)

    def drop_processes(self, ids: Sequence[str]) -> None:
        for each in ids:
            self.running.pop(each, None)

    def processes(self) -> list[ServiceProcess]:
        return sorted(self.running.values(), key=lambda each: (each.epoch, each.id))

    def waiting_for_processes(self, until: int, most: int) -> list[str]:
        said = '"layer":"freed_memory","status":"PENDING"'
        waiting = [each for each in self.records.values() if each.epoch_after <= until]
        found = sorted((each.epoch_after, each.request_id) for each in waiting if said in (each.receipt or ""))
        return [request for _, request in found[:most]]

    def put_lineage(
        self, adapter: str, users: Mapping[int, int], epoch: int, measured: Mapping[str, str] | None = None
    ) -> None:
        if self.erased_at > epoch:
            raise Busy("a person was forgotten")
        self.drop_lineage([adapter])
        self.seen |= {(adapter, user): count for user, count in users.items()}
        self.told |= {(request, adapter): body for request, body in (measured or {}).items()}

    def measured_removals(self) -> list[MeasuredRemoval]:
        return [MeasuredRemoval(*key, body) for key, body in sorted(self.told.items())]

    def lineage(self, adapter: str) -> dict[int, int]:
        return {user: count for (name, user), count in sorted(self.seen.items()) if name == adapter}

    def has_lineage(self, adapter: str) -> bool:
        return any(name == adapter for name, _ in self.seen)

    def adapters_of(self, user_number: int) -> list[str]:
        return sorted(name for name, user in self.seen if user == user_number)

    def drop_lineage(self, adapters: Sequence[str]) -> None:
        self.seen = {key: count for key, count in self.seen.items() if key[0] not in adapters}
        self.owed = {key for key in self.owed if key[1] not in adapters}
        self.told = {key: body for key, body in self.told.items() if key[1] not in adapters}

    def debts(self, request_id: str | None = None) -> list[Debt]:
        return [Debt(*key) for key in sorted(self.owed) if request_id in {None, key[0]}]

    def _forgotten(self, user_id: str) -> bool:
        entry = self.listed.get(PSEUDONYMS.user(user_id))
        return entry is not None and entry.consented is None

    def _admits(self, row: Interaction) -> bool:
        entry = self.listed.get(PSEUDONYMS.user(row.user_id))
        if PSEUDONYMS.interaction(row) in self.listed:
            return False
        if row.event == "interaction" and row.value is None:
            rating = replace(row, event="rating")
            if PSEUDONYMS.interaction(rating) in self.listed:
                return False
        return entry is None or (entry.consented is not None and row.time >= entry.consented)

    def _accepted(self, erasure: Erasure, after: int) -> ForgetRecord:
        gone = list(self._meant(erasure))
        return ForgetRecord(
            erasure.request_id,
            erasure.batch_id,
            erasure.subject,
            erasure.plan,
            erasure.scope,
            ForgetState.HIDDEN,
            erasure.user_number,
            self.epoch(),
            self.epoch() + after,
            erasure.created,
            erasure.deadline,
            {"accepted": erasure.created, "hidden": erasure.created},
            {"users": 1 if erasure.scope == "user" else 0, "interactions": len(gone)},
        )

    def _meant(self, erasure: Erasure) -> Iterator[int]:
        mine = {number for number, (user, _) in self.rows.items() if user == erasure.user_number}
        if erasure.interactions is None:
            yield from mine
            return
        if not mine.issuperset(erasure.interactions):
            raise PlanChanged("an interaction is gone")
        yield from set(erasure.interactions)

    def _erase(self, erasure: Erasure) -> None:
        for number in list(self._meant(erasure)):
            del self.rows[number]
        self.owed |= {(erasure.request_id, name) for name in self.adapters_of(erasure.user_number)}
        if erasure.interactions is None:
            del self.people[erasure.user_number]
            self.seen = {key: count for key, count in self.seen.items() if key[1] != erasure.user_number}
            known = self.listed.get(erasure.subject, Suppression(erasure.subject, erasure.subject))
            self.listed[erasure.subject] = replace(known, consented=None)
        else:
            self.listed |= {digest: Suppression(digest, erasure.subject) for digest in erasure.digests}
        self._record(ChangeKind.FORGET, [erasure.user_number])

    def newest_entry(self) -> LedgerEntry | None:
        return self.entries[-1] if self.entries else None

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        return next((entry for entry in self.entries if entry.sequence == sequence), None)

    def _tip(self) -> LedgerTip:
        if not self.entries:
            return LedgerTip(0, "0" * 64)
        return LedgerTip(self.entries[-1].sequence, self.entries[-1].digest)

    def _extend(self, entries: Sequence[LedgerEntry]) -> None:
        tip = self._tip()
        for entry in entries:
            if (entry.sequence, entry.previous) != (tip.sequence + 1, tip.digest):
                raise BrokenLedger("does not follow")
            tip = LedgerTip(entry.sequence, entry.digest)
        self.entries += entries
