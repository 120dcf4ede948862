"""The processes of services, and the requests whose receipts wait for the end of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rag_rec.store.database import Database
from rag_rec.store.records import ServiceProcess
from rag_rec.store.schema import forget_requests, service_processes

_SAID_PENDING: Final = '%"layer":"freed_memory","status":"PENDING"%'
"""Receipts are canonical JSON, in which the names of a layer's line stand in this order."""


def write_process(connection: Connection, process: ServiceProcess) -> None:
    """Insert a process."""
    connection.execute(insert(service_processes), asdict(process) | {"ended": int(process.ended)})


def mark_processes(connection: Connection, ids: Sequence[str], *, ended: bool, seen: int) -> None:
    """Note that processes have ended, or were seen running."""
    for process in ids:
        mark = update(service_processes).where(service_processes.c.id == process)
        connection.execute(mark.values(ended=1) if ended else mark.values(seen=seen))


def delete_processes(connection: Connection, ids: Sequence[str]) -> None:
    """Take processes off the list."""
    for process in ids:
        connection.execute(delete(service_processes).where(service_processes.c.id == process))


class Processes:
    """Reads the list."""

    def __init__(self, database: Database) -> None:
        self._database = database
        columns = service_processes.c
        self._all = database.query("processes", lambda: select(*columns).order_by(columns.epoch, columns.id))
        self._waiting = database.query("waiting for processes", _waiting_requests)

    def all(self) -> list[ServiceProcess]:
        """All processes, by the epoch at which they began."""
        with self._database.reader() as cursor:
            rows = self._all.rows(cursor)
        return [_process(row) for row in rows]

    def waiting(self, until: int, most: int) -> list[str]:
        """Ids of requests with an erasure epoch of at most ``until`` whose receipts wait for processes to end."""
        with self._database.reader() as cursor:
            return [row[0] for row in self._waiting.rows(cursor, until=until, most=most)]


def _process(row: Sequence[Any]) -> ServiceProcess:
    columns = dict(zip(service_processes.c.keys(), row, strict=True))
    return ServiceProcess(**columns | {"ended": bool(columns["ended"])})


def _waiting_requests() -> Any:
    mine = forget_requests.c
    return (
        select(mine.request_id)
        .where(mine.epoch_after <= bindparam("until"))
        .where(mine.receipt.like(_SAID_PENDING))
        .order_by(mine.epoch_after, mine.request_id)
        .limit(bindparam("most"))
    )
