"""The processes of services, and the requests whose receipts wait for the end of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update

from rag_rec.store.part import Part
from rag_rec.store.records import ServiceProcess
from rag_rec.store.schema import forget_requests, service_processes

_SAID_PENDING: Final = '%"layer":"freed_memory","status":"PENDING"%'
"""Receipts are canonical JSON, in which the names of a layer's line stand in this order."""


_ALL = select(*service_processes.c).order_by(service_processes.c.epoch, service_processes.c.id)
_WAITING = (
    select(forget_requests.c.request_id)
    .where(forget_requests.c.epoch_after <= bindparam("until"))
    .where(forget_requests.c.receipt.like(_SAID_PENDING))
    .order_by(forget_requests.c.epoch_after, forget_requests.c.request_id)
    .limit(bindparam("most"))
)


class Processes(Part):
    """The list of processes."""

    def put_process(self, process: ServiceProcess) -> None:
        """Put a process that answers from memory on the list."""
        with self._database.writer() as connection:
            connection.execute(insert(service_processes), asdict(process) | {"ended": int(process.ended)})

    def mark_processes(self, ids: Sequence[str], *, ended: bool, seen: int) -> None:
        """Note that processes have ended, or were seen running at ``seen`` (milliseconds)."""
        with self._database.writer() as connection:
            for process in ids:
                mark = update(service_processes).where(service_processes.c.id == process)
                connection.execute(mark.values(ended=1) if ended else mark.values(seen=seen))

    def drop_processes(self, ids: Sequence[str]) -> None:
        """Take processes off the list."""
        with self._database.writer() as connection:
            for process in ids:
                connection.execute(delete(service_processes).where(service_processes.c.id == process))

    def processes(self) -> list[ServiceProcess]:
        """The processes that answer from memory, by the epoch at which they began."""
        return [_process(row) for row in self._database.rows(_ALL)]

    def waiting_for_processes(self, until: int, most: int) -> list[str]:
        """Ids of requests with an erasure epoch of at most ``until`` whose receipts wait for processes to end."""
        return [row[0] for row in self._database.rows(_WAITING, until=until, most=most)]


def _process(row: Sequence[Any]) -> ServiceProcess:
    columns = dict(zip(service_processes.c.keys(), row, strict=True))
    return ServiceProcess(**columns | {"ended": bool(columns["ended"])})
