"""The environment of a service in which freed memory is overwritten, as far as the allocators here can do that.

Allocators choose what they do when a process starts, so that the variables must be there by then:
:func:`overwriting` gives them, :func:`begin_again` starts this program anew with them.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

PERTURB: Final = "glibc.malloc.perturb"
TUNABLES: Final = {PERTURB: "90", "glibc.malloc.tcache_count": "0"}
"""glibc fills a chunk with this byte when it is freed, all but its last 8 bytes. A chunk that goes to a thread's own
cache is left as it is, so that there is no such cache."""

ALLOCATORS: Final = {
    "PYTHONMALLOC": "malloc",  # Python's own arenas never overwrite
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
GLIBC_TUNABLES: Final = "GLIBC_TUNABLES"
JEMALLOC: Final = "_RJEM_MALLOC_CONF"
JUNK: Final = "junk:free"
"""polars brings jemalloc, which then overwrites all of what is freed."""


def can_overwrite() -> bool:
    """Whether the C library can: glibc can; those of Alpine Linux (musl) and macOS have no such setting."""
    return platform.libc_ver()[0] == "glibc"


def overwriting(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with the variables added. Other settings of the same allocators stay."""
    tunables = [
        part for part in environment.get(GLIBC_TUNABLES, "").split(":") if part.partition("=")[0] not in TUNABLES
    ]
    ours = [f"{name}={value}" for name, value in TUNABLES.items()]
    jemalloc = [part for part in environment.get(JEMALLOC, "").split(",") if not part.startswith("junk:")]
    return {
        **environment,
        **ALLOCATORS,
        GLIBC_TUNABLES: ":".join(filter(None, [*tunables, *ours])),
        JEMALLOC: ",".join(filter(None, [*jemalloc, JUNK])),
    }


def is_overwriting(environment: Mapping[str, str]) -> bool:
    """Whether a process that was started with this environment overwrites what it frees."""
    return can_overwrite() and all(
        part in environment.get(name, "").split(separator)
        for name, separator, part in (
            ("PYTHONMALLOC", ",", "malloc"),
            *((GLIBC_TUNABLES, ":", f"{name}={value}") for name, value in TUNABLES.items()),
            (JEMALLOC, ",", JUNK),
        )
    )


def begin_again() -> None:
    """Start this program anew, as the same process, with the environment in which freed memory is overwritten."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], overwriting(os.environ))  # noqa: S606 - ourselves
