"""The processes that may hold, in memory that they freed, what they read of people who were forgotten since.

A process can hold only what was there after it began: a person who was forgotten before is in none of its memory. A
process of this machine has ended when its number is free, or belongs to one that was started at another time. Of a
process elsewhere only that machine can tell, unless the process said itself that it ends.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from rag_rec.clock import now_ms
from rag_rec.errors import RagRecError
from rag_rec.presence.hosts import this_process_space
from rag_rec.store.protocol import Store
from rag_rec.store.records import ServiceProcess

log = structlog.get_logger()

SEEN_MS: Final = 60_000
"""How often it is noted that a process still runs."""
SILENT_MS: Final = 3_600_000
"""A process of another machine of which nothing was heard for so long is not waited for any more."""

_STARTED: Final = 19
"""Place of the start, in ticks since the machine was started, behind the name in /proc/PID/stat."""


def enter(store: Store) -> ServiceProcess:
    """Put this process on the list. To be called before it reads anything of a person.

    A store that takes no writes at present, such as one on a full disk, keeps back no process that can answer: it is
    logged, and a service puts itself on the list later.
    """
    own = os.getpid()
    process = ServiceProcess(secrets.token_hex(8), this_process_space(), own, born(own), store.epoch(), now_ms())
    try:
        store.put_process(process)
    except RagRecError as error:
        log.error("process_not_listed", code=error.code)
    return process


def leave(store: Store, process: ServiceProcess) -> None:
    """Say that a process is about to end, for those who cannot see that it has."""
    store.mark_processes([process.id], ended=True, seen=now_ms())


def look(store: Store) -> Sequence[ServiceProcess]:
    """All processes on the list, after a look at those of this machine."""
    listed = store.processes()
    here = [process for process in listed if not process.ended and process.host == this_process_space()]
    gone = [process.id for process in here if not _runs(process)]
    due = now_ms() - SEEN_MS
    seen = [process.id for process in here if process.id not in gone and process.seen < due]
    for ids, ended in ((gone, True), (seen, False)):
        if ids:
            store.mark_processes(ids, ended=ended, seen=now_ms())
    return store.processes() if gone or seen else listed


def is_silent(process: ServiceProcess) -> bool:
    """Whether nothing was heard for long of a process elsewhere that did not say that it ended."""
    return not process.ended and process.host != this_process_space() and process.seen < now_ms() - SILENT_MS


def born(process: int) -> int:
    """A mark of the start of a process of this machine; 0 where the machine does not tell."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[_STARTED])
    return 0


def _runs(process: ServiceProcess) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process.process, 0)
        except ProcessLookupError:
            return False
    return born(process.process) in {process.born, 0}
