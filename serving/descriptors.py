"""Open files of the process. Connections take them, and so do the store, the index files and the LLM's servers: whoever
holds connections open must not be able to take the last ones.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

try:
    import resource
except ImportError:  # Windows, where sockets and files do not share a limit
    resource = None  # type: ignore[assignment]

RESERVED: Final = 256
"""Open files that are never connections: libraries, index files, and for every thread one of the store's connections
with its three files."""

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})


def most_connections(wanted: int) -> int:
    """How many connections may be open at once, at most ``wanted``. Raises the process's limit of open files if it can.

    Where the limit stays low, half of it is kept for everything else.
    """
    if resource is None:
        return wanted
    limit = _raise_limit(wanted + RESERVED)
    return max(1, min(wanted, limit - min(RESERVED, limit // 2)))


def _raise_limit(needed: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return needed
    target = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if target > soft:
        with suppress(ValueError, OSError):  # some systems cap it below the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def is_exhausted(error: BaseException) -> bool:
    """Whether an error came from the want of open files, however it was raised again since."""
    return any(isinstance(each, OSError) and each.errno in EXHAUSTED for each in _causes(error)) or _none_left()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _none_left() -> bool:
    """Libraries such as SQLite say that a file cannot be opened, and not why."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in EXHAUSTED
    return False
