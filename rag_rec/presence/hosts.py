"""This host, so that two folders that call themselves the same can be told from one."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@cache
def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip()[:8]
    return ""


@cache
def _process_space() -> str:
    with suppress(OSError):
        return str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 - not a path that could be resolved
    return ""


def this_process_space() -> str:
    """This host as far as the numbers of processes reach: a container has its own, whatever the host is called."""
    return f"{this_host()}-{_process_space()}"


def this_host() -> str:
    """The name of this host, and a mark of its present start: a copy of a machine has the same name only."""
    return f"{socket.gethostname()}/{_boot()}"
