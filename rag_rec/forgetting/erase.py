"""Removes a person, or some of a person's interactions, from every exact layer.

The order is: hide (no read path sees the person any more), store, index files, memory. Each step can be run again
without harm. A running service in another process learns of the removal from the change log, which it reads before
every answer.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from rag_rec.compact.folder import CompactStore
from rag_rec.errors import UnknownRequest, UnknownUser
from rag_rec.forgetting.files import erase_from_files, vectors_in_files
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.generation import Generations
from rag_rec.live import Live
from rag_rec.store.protocol import ChangeKind, ForgetRecord, Selection, Store


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


class Eraser:
    """Carries out forget requests on the store, the index files and, where there is one, the live state."""

    def __init__(
        self, store: Store, generations: Generations, live: Live | None = None, compact: CompactStore | None = None
    ) -> None:
        self._store = store
        self._compact = compact
        self._generations = generations
        self._live = live

    def forget(self, request: ForgetRequest) -> ForgetOutcome:
        """Carry out a request, or say what it would remove if it is a dry run.

        Raises:
            UnknownUser: there is no such user (any more).
            ConfirmationRequired: the request does not repeat the user's id.
            InvalidInput: a request for interactions that names none.
        """
        request.check()
        found = self._store.user(request.user_id)
        if found is None:
            raise UnknownUser("There is no user with this id; nothing was changed.")
        number = found[0]
        numbers = self._store.select(number, request.selection or Selection())
        if request.dry_run:
            return self._preview(request, number, len(numbers))
        return self._carry_out(request, number, numbers)

    def status(self, request_id: str) -> ForgetRecord:
        """What became of a request. Raises ``UnknownRequest``."""
        record = self._store.forget_record(request_id)
        if record is None:
            raise UnknownRequest("There is no forget request with this id.")
        return record

    def _preview(self, request: ForgetRequest, number: int, interactions: int) -> ForgetOutcome:
        epoch = self._store.epoch()
        removed = {
            "users": 1 if request.selection is None else 0,
            "interactions": interactions,
            "index_files": len(vectors_in_files(self._generations, number)),
        }
        return ForgetOutcome(None, "dry_run", request.scope, epoch, epoch, removed)

    def _carry_out(self, request: ForgetRequest, number: int, numbers: list[int]) -> ForgetOutcome:
        watch = Stopwatch()
        record = self._accept(request)
        if self._live is not None and request.selection is None:
            self._live.hide(number)
        self._discard_training()  # and once more below: here for a crash in between, there for a training that runs
        watch.lap("accept")
        removed = self._erase_from_store(request, number, numbers)
        watch.lap("store")
        removed["index_files"] = erase_from_files(self._generations, number, self._erased_at(number, record))
        self._discard_training()
        watch.lap("files")
        if self._live is not None:
            self._live.follow()
            watch.lap("memory")
        return self._complete(record, removed, watch)

    def _discard_training(self) -> None:
        if self._compact is not None:
            self._compact.discard_training()

    def _accept(self, request: ForgetRequest) -> ForgetRecord:
        record = ForgetRecord(
            request_id=secrets.token_hex(16),
            scope=request.scope,
            state="accepted",
            epoch_before=self._store.epoch(),
            epoch_after=None,
            created=_now(),
            completed=None,
        )
        self._store.put_forget_record(record)
        return record

    def _erase_from_store(self, request: ForgetRequest, number: int, numbers: list[int]) -> dict[str, int]:
        if request.selection is None:
            gone = self._store.delete_user(number)
            removed = {"users": gone.users, "interactions": gone.interactions}
        else:
            removed = {"users": 0, "interactions": self._store.delete_interactions(number, numbers)}
        self._store.scrub()
        return removed

    def _erased_at(self, number: int, record: ForgetRecord) -> int:
        """The epoch of the removal from the store; -1, before every generation, if nothing had to be removed."""
        changes = self._store.changes(record.epoch_before)
        removals = (change for change in changes if change.kind is ChangeKind.FORGET and change.number == number)
        return max((change.epoch for change in removals), default=-1)

    def _complete(self, record: ForgetRecord, removed: dict[str, int], watch: Stopwatch) -> ForgetOutcome:
        epoch = self._store.epoch()
        done = ForgetRecord(
            request_id=record.request_id,
            scope=record.scope,
            state="complete",
            epoch_before=record.epoch_before,
            epoch_after=epoch,
            created=record.created,
            completed=_now(),
            removed=removed,
            timings_ms=watch.steps,
        )
        self._store.put_forget_record(done)
        return ForgetOutcome(record.request_id, done.state, done.scope, done.epoch_before, epoch, removed, watch.steps)


def _now() -> int:
    return time.time_ns() // 1_000_000
