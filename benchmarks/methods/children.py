"""Work in processes that may be killed.

They are forks of this process: they share the modules that it has loaded, and start at once. A fork copies no threads,
so that the process that forks must not have started any; it does nothing but this.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Final

import orjson

PATIENCE_SECONDS: Final = 120.0
LEFT_SECONDS: Final = 60.0
"""A process whose starter was killed must have ended by itself after so long."""
FORK: Final = multiprocessing.get_context("fork")


def die() -> None:
    """End this process at once: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def killed(work: Callable[[Connection], None], delay: float | None) -> int:
    """Run work in a child, which kills itself or is killed ``delay`` seconds after it starts; 1 if it was killed."""
    with killing(work, delay) as count:
        return count


@contextmanager
def killing(work: Callable[[Connection], None], delay: float | None) -> Iterator[int]:
    """As :func:`killed`, where the work may start processes that live on for a while.

    Such processes are given the connection and hold it as long as they live. The context is left when all have ended.

    Raises:
        ChildProcessError: the work hung, or one of them does not end.
    """
    here, there = FORK.Pipe(duplex=False)
    child = FORK.Process(target=work, args=(there,))
    child.start()
    there.close()
    if delay is not None and here.poll(PATIENCE_SECONDS):
        time.sleep(delay)
        child.kill()
    try:
        _join(child)
        yield int(child.exitcode == -signal.SIGKILL)
        _wait_for_end(here)
    finally:
        here.close()


def in_child(work: Callable[[], Any]) -> Any:
    """The result of some work, plain JSON, done in a process of its own.

    Raises:
        ChildProcessError: the process failed.
    """
    here, there = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: there.send_bytes(orjson.dumps(work())))
    child.start()
    there.close()
    try:
        result = orjson.loads(here.recv_bytes()) if here.poll(PATIENCE_SECONDS) else None
    except EOFError:
        raise ChildProcessError("the process that opens the system failed") from None
    finally:
        _join(child)
        here.close()
    return result


def _wait_for_end(here: Connection) -> None:
    """Wait until nobody has the other end any more."""
    try:
        while here.poll(LEFT_SECONDS):
            here.recv_bytes()
    except EOFError:
        return
    raise ChildProcessError("a process went on when the one that had started it had been killed")


def _join(child: ForkProcess) -> None:
    child.join(PATIENCE_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        raise ChildProcessError("the process hung")
