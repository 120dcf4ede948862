"""Starts worker processes for a supervisor, and tells it when they are ready and when they have ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from serving.supervisor import Ended, Event, Ready


class WorkerProcess:
    """A process that runs :mod:`serving.worker`."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self.number = number
        self.pid = process.pid
        self._process = process
        self._lifeline = lifeline

    def end(self) -> None:
        """Tell it to end in order."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def watch(self, ready: int, tell: Callable[[Event], None]) -> None:
        """Wait for what happens to it, and tell."""
        with os.fdopen(ready, "rb") as stream:
            if stream.read(1):
                tell(Ready(self))
        status = self._process.wait()
        os.close(self._lifeline)
        tell(Ended(self, status))


class Sockets:
    """The listening sockets: one that all workers share, and perhaps one for each place.

    A shared socket rather than one of each worker's with ``SO_REUSEPORT``: connections that wait in the queue of a
    socket that is closed are reset, and with a shared one they are taken by another worker.
    """

    def __init__(self, shared: socket.socket, own: Sequence[socket.socket] = ()) -> None:
        self._shared = shared
        self._own = own

    def of(self, number: int) -> list[int]:
        """Descriptors of those on which the worker of a place listens."""
        return [each.fileno() for each in (self._shared, *self._own[number - 1 : number])]

    def close(self) -> None:
        """Close them here."""
        for each in (self._shared, *self._own):
            each.close()


def start_process(
    sockets: Sockets, environment: Mapping[str, str], number: int, early: bool, tell: Callable[[Event], None]
) -> WorkerProcess:
    """Start the worker of a place. A supervisor gives the last three."""
    ready, says_ready = os.pipe()
    life, lifeline = os.pipe()
    passed = [says_ready, life, *sockets.of(number)]
    arguments = [number, int(early), *passed]
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [sys.executable, "-m", "serving.worker", *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=passed,
    )
    os.close(says_ready)
    os.close(life)
    worker = WorkerProcess(number, process, lifeline)
    threading.Thread(target=worker.watch, args=(ready, tell), name=f"worker {number}", daemon=True).start()
    return worker
