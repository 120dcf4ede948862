"""Work in processes that may be killed.

They are forks of this process: they share the modules that it has loaded, and start at once. A fork copies no threads,
so that the process that forks must not have started any; it does nothing but this.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Final

import orjson

PATIENCE_SECONDS: Final = 120.0
FORK: Final = multiprocessing.get_context("fork")


def die() -> None:
    """End this process at once: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def killed(work: Callable[[Connection], None], delay: float | None) -> int:
    """Run work in a child, which kills itself or is killed ``delay`` seconds after it starts; 1 if it was killed."""
    here, there = FORK.Pipe(duplex=False)
    child = FORK.Process(target=work, args=(there,))
    child.start()
    there.close()
    if delay is not None and here.poll(PATIENCE_SECONDS):
        time.sleep(delay)
        child.kill()
    _join(child)
    here.close()
    return int(child.exitcode == -signal.SIGKILL)


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


def _join(child: ForkProcess) -> None:
    child.join(PATIENCE_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        raise ChildProcessError("the process hung")
