"""What a receipt says of freed memory: that of the processes which ran at the time of the erasure, until they ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.protocol import QuietLayer
from rag_rec.layers.records import Group
from rag_rec.presence.processes import is_silent, look
from rag_rec.store.protocol import Store
from rag_rec.store.records import ServiceProcess

MOST: Final = 200
"""So many receipts are renewed at once, so that a removal does not wait for long."""

PROVEN: Final = (
    "Every process that answered from memory at the time of the erasure has ended, and its memory is the operating "
    "system's."
)
NONE: Final = (
    "No process answered from memory at the time of the erasure; the memory of a command ends with the command."
)
SILENT: Final = (
    "A process on another machine that answered from memory at the time of the erasure fell silent, and did not "
    "say that it ended: see there that it has. All others have ended."
)
WAITS: Final = (
    "Memory that a process has freed may still hold ids and texts of the person; nothing reads it. It is gone when "
    "each process that answered from memory at the time of the erasure has ended: restart the services, one after the "
    "other where there are several."
)
_FAR: Final = 2**62


class FreedLayer(QuietLayer):
    """Freed memory, for which no request waits. Removes nothing: it is gone when processes have ended."""

    name = LayerName.FREED
    state = None

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = FreedMemory(store)

    def look(self, group: Group) -> Sequence[Finding]:
        """What is known of each request, by the processes at this moment."""
        freed = FreedMemory(self._store)
        return [freed.of(record.epoch_after) for record in group]

    def due(self, *, all_of_them: bool = False) -> Sequence[str]:
        """Requests whose receipts can say more since processes ended. Costs one query where none has."""
        self._seen = FreedMemory(self._store)
        return self._seen.due(all_of_them=all_of_them)

    def settle(self) -> None:
        """Take the processes that had ended by then off the list: another one may have ended meanwhile."""
        self._seen.settle()


class FreedMemory:
    """The processes at one moment, and what they mean for any number of requests."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, erased: int) -> Finding:
        """What is known of a request with this erasure epoch."""
        ran = [process for process in self._processes if process.epoch < erased]
        running = [process for process in ran if _is_running(process)]
        silent = [process for process in ran if is_silent(process)]
        detail: dict[str, str | int | float | None] = {"running": len(running), "silent": len(silent)}
        if running:
            return Finding(LayerName.FREED, Status.PENDING, WAITS, None, detail)
        if silent:
            return Finding(LayerName.FREED, Status.OUT_OF_SCOPE, SILENT, None, detail)
        return Finding(LayerName.FREED, Status.PROVEN, PROVEN if ran else NONE, None, detail)

    def due(self, *, all_of_them: bool = False) -> Sequence[str]:
        """Ids of requests whose receipts can say more now, :data:`MOST` at most.

        Args:
            all_of_them: also where no process has ended since :meth:`settle`.
        """
        if not self._gone and not all_of_them:
            return []
        return self._store.waiting_for_processes(self._reached, MOST)

    def settle(self) -> None:
        """Take processes off the list that ended, and for which no receipt waits any more."""
        if self._gone:
            self._store.drop_processes(self._gone)

    @cached_property
    def _processes(self) -> Sequence[ServiceProcess]:
        return look(self._store)

    @cached_property
    def _gone(self) -> list[str]:
        """Processes that do not run any more, while none runs that began before them."""
        return [each.id for each in self._processes if not _is_running(each) and each.epoch < self._reached]

    @cached_property
    def _reached(self) -> int:
        """The processes that ran before this epoch do not run any more."""
        return min((each.epoch for each in self._processes if _is_running(each)), default=_FAR)


def _is_running(process: ServiceProcess) -> bool:
    return not process.ended and not is_silent(process)
