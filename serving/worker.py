"""One service process of several: answers on sockets that it inherits from its supervisor (:mod:`serving.supervisor`).

Run as ``python -m serving.worker NUMBER EARLY READY LIFE SOCKET...``: its number; whether it takes connections before
it can answer; the descriptor on which it says that it can; the one that ends with the supervisor; and those of the
listening sockets. Everything else it has from the settings.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import Final

from rag_rec.artifacts.private import OTHERS
from rag_rec.errors import RagRecError
from rag_rec.settings import Settings
from serving.key_file import open_keyring
from serving.logs import capture_libraries, open_log
from serving.opening import limits_of, open_engine
from serving.server import serve
from serving.service import Service

READY: Final = b"r"
HANDOVER_SECONDS: Final = 3.0
"""How long a worker that ends asks its callers to connect anew, before it closes connections that ask nothing."""


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Returns the exit status."""
    number, early, ready, life, *sockets = map(int, arguments)
    threading.Thread(target=_end_with, args=(life,), name="life", daemon=True).start()
    os.umask(OTHERS)  # what libraries write of people is for its owner alone as well
    settings = Settings()
    log = open_log(worker=number)
    limits = replace(limits_of(settings), handover_seconds=HANDOVER_SECONDS)
    service = Service(settings, open_keyring(settings, log), log, limits=limits)
    service.number = number
    service.metrics.worker.set(number)
    service.when_ready = partial(_say_ready, ready)
    begin = partial(capture_libraries, worker=number)
    begin()
    listeners = [socket.socket(fileno=each) for each in sockets]
    try:
        serve(service, listeners, partial(open_engine, settings, begin), early=bool(early))
    except RagRecError as error:
        log.error("worker_failed", code=error.code, message=str(error))
        return 1
    return 0


def _say_ready(descriptor: int) -> None:
    os.write(descriptor, READY)
    os.close(descriptor)


def _end_with(life: int) -> None:
    """End in order when the supervisor has gone, however it went."""
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
