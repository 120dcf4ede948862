"""The part of the store that forgetting works on: requests, ledger, suppressions, holds, replicas and lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.records import Erasure, ForgetRecord
from rag_rec.store.acceptance import accept
from rag_rec.store.chain import Chain, append_entries, tip
from rag_rec.store.database import Database
from rag_rec.store.holds import Holds, delete_hold, write_hold
from rag_rec.store.identity import Identity
from rag_rec.store.journal import Journal
from rag_rec.store.lineage import Lineage, delete_lineage, write_lineage
from rag_rec.store.places import Places, retire, write_place
from rag_rec.store.processes import Processes, delete_processes, mark_processes, write_process
from rag_rec.store.protocol import Accepted, Compose
from rag_rec.store.records import Debt, Hold, LedgerEntry, LedgerTip, Place, Replica, ServiceProcess, Suppression
from rag_rec.store.replicas import Replicas, delete_replica, delete_silent, renew_replica, write_replica
from rag_rec.store.requests import Requests, write_records
from rag_rec.store.seals import recognising, seal
from rag_rec.store.suppressions import SuppressionList, grant


class SqlPrivacy:
    """Reads and writes what the forget protocol needs. A method that promises something to a person is durable."""

    def __init__(self, database: Database, pseudonyms: Pseudonyms | None) -> None:
        self._database = database
        self._pseudonyms = pseudonyms
        self._identity = Identity(database)
        self._counters = Journal(database)
        self._requests = Requests(database)
        self._chain = Chain(database)
        self._suppressions = SuppressionList(database)
        self._holds = Holds(database)
        self._replicas = Replicas(database)
        self._places = Places(database)
        self._processes = Processes(database)
        self._lineage = Lineage(database)

    def identity(self) -> str:
        """The random id of this store, made once with it."""
        return self._identity.value()

    def erasure_epoch(self) -> int:
        """The newest epoch at which something was removed, 0 if never."""
        return self._counters.erasure_epoch()

    def accept(self, erasures: Sequence[Erasure], ledger: Accepted) -> list[ForgetRecord]:
        """Accept requests and delete what they mean, in one durable transaction.

        Raises:
            LegalHold: a person may not be forgotten.
            PlanChanged: a person, or an interaction that was to go, is not there any more.
            WrongKey: there is no pseudonym key, or not the one that the store was written with.
        """
        with self._database.writer() as connection:
            return accept(connection, erasures, ledger, self._pseudonyms)

    def extend_ledger(self, compose: Compose) -> None:
        """Append entries to the ledger and replace records, in one durable transaction."""
        with self._database.writer() as connection:
            end = tip(connection)
            entries, records = compose(end)
            append_entries(connection, end, entries)
            write_records(connection, records)

    def ledger(self, after: int = 0) -> list[LedgerEntry]:
        """Entries with ``sequence > after``, in order."""
        return self._chain.entries(after)

    def newest_entry(self) -> LedgerEntry | None:
        """The end of the ledger, None while it is empty."""
        return self._chain.newest()

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        """The entry of this number, None if there is none."""
        return self._chain.entry(sequence)

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""
        return self._requests.record(request_id)

    def forget_records(
        self,
        *,
        plan: str | None = None,
        batch_id: str | None = None,
        subject: str | None = None,
        pending: bool = False,
        newest: int | None = None,
    ) -> list[ForgetRecord]:
        """Records, oldest first, those of a batch in the order in which it named its people: of one plan, of one batch,
        of one person, only those that are not complete, or only the ``newest`` so many."""
        wanted = {"plan": plan, "batch_id": batch_id, "subject": subject}
        return self._requests.records(wanted, pending, newest)

    def suppressions(self, subjects: Sequence[str]) -> list[Suppression]:
        """What is refused of these people, by (subject, digest)."""
        return self._suppressions.of(subjects)

    def suppressed_events(self) -> int:
        """How many events were refused so far because somebody had been forgotten."""
        return self._counters.suppressed_events()

    def consent(self, subject: str, time: int, ledger: Callable[[LedgerTip, Suppression], LedgerEntry]) -> Suppression:
        """Open a new identity for a forgotten person; one that is open already stays as it is, without an entry.

        Raises:
            UnknownUser: this person is not suppressed.
        """
        with self._database.writer() as connection:
            identity, new = grant(connection, subject, time)
            if new:
                end = tip(connection)
                append_entries(connection, end, [ledger(end, identity)])
            return identity

    def put_hold(self, hold: Hold) -> None:
        """Insert or replace a legal hold. Raises ``WrongKey`` as :meth:`accept` does."""
        with self._database.writer() as connection:
            seal(connection, self._pseudonyms)
            write_hold(connection, hold)

    def drop_hold(self, subject: str) -> bool:
        """Lift a legal hold. Returns whether there was one. Raises ``WrongKey`` as :meth:`accept` does."""
        with self._database.writer() as connection:
            recognising(connection, self._pseudonyms)
            lifted = delete_hold(connection, subject)
            if lifted:  # the key named the person, so that it is the one that the holds were placed under
                seal(connection, self._pseudonyms)
            return lifted

    def holds(self) -> list[Hold]:
        """All legal holds, by time."""
        return self._holds.all()

    def beat(self, replica: Replica) -> None:
        """Insert or replace what a live replica says of itself."""
        with self._database.writer(durable=False) as connection:
            write_replica(connection, replica)

    def renew(self, replica: Replica) -> bool:
        """Replace what a live replica says of itself; False if it is not on the list any more."""
        with self._database.writer() as connection:
            return renew_replica(connection, replica)

    def leave(self, replica_id: str) -> None:
        """Take a replica off the list."""
        with self._database.writer(durable=False) as connection:
            delete_replica(connection, replica_id)

    def drop_silent(self, replica: Replica) -> None:
        """Take a replica off the list, unless it was heard of since it was read."""
        with self._database.writer() as connection:
            delete_silent(connection, replica)

    def replicas(self) -> list[Replica]:
        """All replicas on the list, by id."""
        return self._replicas.all()

    def put_place(self, place: Place) -> None:
        """Insert or replace a place. Durable: others rely on what it says of its files."""
        with self._database.writer(durable=True) as connection:
            write_place(connection, place)

    def places(self) -> list[Place]:
        """All places, retired ones too, by id."""
        return self._places.all()

    def retire_place(
        self, place_id: str, time: int, reason: str, ledger: Callable[[LedgerTip, Place], LedgerEntry]
    ) -> Place:
        """Take a place out of use, with an entry of the ledger. Raises ``UnknownPlace``."""
        with self._database.writer(durable=True) as connection:
            return retire(connection, place_id, time, reason, ledger)

    def put_process(self, process: ServiceProcess) -> None:
        """Put a process that answers from memory on the list."""
        with self._database.writer() as connection:
            write_process(connection, process)

    def mark_processes(self, ids: Sequence[str], *, ended: bool, seen: int) -> None:
        """Note that processes have ended, or were seen running at ``seen`` (milliseconds)."""
        with self._database.writer() as connection:
            mark_processes(connection, ids, ended=ended, seen=seen)

    def drop_processes(self, ids: Sequence[str]) -> None:
        """Take processes off the list."""
        with self._database.writer() as connection:
            delete_processes(connection, ids)

    def processes(self) -> list[ServiceProcess]:
        """The processes that answer from memory, by the epoch at which they began."""
        return self._processes.all()

    def waiting_for_processes(self, until: int, most: int) -> list[str]:
        """Ids of requests with an erasure epoch of at most ``until`` whose receipts wait for processes to end."""
        return self._processes.waiting(until, most)

    def put_lineage(self, adapter: str, users: Mapping[int, int], epoch: int) -> None:
        """Record whom an adapter saw, and settle its debts.

        Raises:
            Busy: something was removed from the store since that epoch.
        """
        with self._database.writer() as connection:
            write_lineage(connection, adapter, users, epoch)

    def lineage(self, adapter: str) -> dict[int, int]:
        """Whom an adapter saw: how many interactions, by user number."""
        return self._lineage.of(adapter)

    def has_lineage(self, adapter: str) -> bool:
        """Whether it is recorded of anybody that an adapter saw them."""
        return self._lineage.exists(adapter)

    def adapters_of(self, user_number: int) -> list[str]:
        """The adapters that saw a user, sorted."""
        return self._lineage.adapters_of(user_number)

    def drop_lineage(self, adapters: Sequence[str]) -> None:
        """Forget the lineage and the debts of adapters that do not exist any more."""
        with self._database.writer() as connection:
            delete_lineage(connection, adapters)

    def debts(self, request_id: str | None = None) -> list[Debt]:
        """Debts by (request, adapter): all, or one request's."""
        return self._lineage.debts(request_id)
