"""A server on a loopback socket, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from serving.server import Server, address_of, bind

if TYPE_CHECKING:
    from rag_rec.engine.engine import Engine
    from serving.service import Service

HEADERS = {"Authorization": "Bearer key-of-admin"}


@contextmanager
def running(service: Service, open_engine: Callable[[], Engine]) -> Iterator[tuple[Server, str]]:
    """A server in a thread; stopped in order at the end."""
    listener = bind("127.0.0.1", 0)
    server = Server(service, open_engine)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield server, address_of(listener).url
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


def wait_until_ready(client: httpx.Client) -> None:
    while client.get("/readyz").status_code != 200:
        pass
