"""Opens the engine of a service, with the process that carries its removals out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from rag_rec.settings import Settings
from serving.descriptors import most_connections
from serving.limits import Limits, limits_for

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine


def limits_of(settings: Settings) -> Limits:
    """The limits of a process, with as many connections as it may open."""
    limits = limits_for(settings)
    most = most_connections(limits.connections)
    return replace(limits, connections=most, connections_of_address=min(most, limits.connections_of_address))


def open_engine(settings: Settings, begin: Callable[[], None]) -> Engine:
    """The engine; ``begin`` is called in the process of the removals first, and must be a function of a module."""
    # Imported here because they bring the numerical libraries, which --help does not need.
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    from rag_rec.engine import engine  # noqa: PLC0415
    from rag_rec.engine.removals.process import RemovalProcess  # noqa: PLC0415
    from rag_rec.presence.remnants import settle_in  # noqa: PLC0415

    # The matrices of one request are small: several threads inside it cost more than they give, and requests that are
    # answered side by side would fight for the same cores.
    threadpool_limits(limits=1)
    removals = RemovalProcess(settings, begin)
    try:
        opened = engine.Engine.open(settings, removals=removals)
    except BaseException:
        removals.close()
        raise
    settle_in()
    return opened
