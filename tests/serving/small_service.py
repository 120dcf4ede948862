"""A service over a small real system in a process of its own, which may open few files.

``python -m tests.serving.small_service HOME FILES`` prints its URL, and serves until its standard input ends.
"""

from __future__ import annotations

import itertools
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.explain.explainer import Explainer
from serving.auth import Keyring, Role
from serving.descriptors import most_connections
from serving.limits import Limits
from serving.logs import open_log
from serving.server import Server, address_of, bind
from serving.service import Service
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for

ROOT = Path(__file__).parents[2]
KEYS = {role: f"key-of-{role.value}" for role in Role}


def prepare(home: Path) -> None:
    """Fill a home and build its index."""
    settings = settings_for(home)
    fill(settings, [Interaction(f"user-{n}", ITEMS[n].id, 1_000 + n, value=5.0) for n in range(8)])
    build(settings)


@contextmanager
def small_service(home: Path, files: int) -> Iterator[str]:
    """The service in a process of its own; gives its URL. What it logs is in ``home/service.log``."""
    with (
        (home / "service.log").open("wb") as log,
        Popen(
            [sys.executable, "-m", "tests.serving.small_service", str(home), str(files)],
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), (home / "service.log").read_text()
            yield url
        finally:
            process.stdin.close()
            process.wait(60)


def main(home: Path, files: int) -> None:
    """Serve."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    limits = Limits()
    most = most_connections(limits.connections)
    limits = replace(limits, connections=most, connections_of_address=most)
    settings = settings_for(home)
    keyring = Keyring({key: frozenset({role}) for role, key in KEYS.items()})
    service = Service(settings, keyring, open_log(), limits=limits)
    listener = bind("127.0.0.1", 0)

    def open_engine() -> Engine:
        engine = Engine.open(settings, embedder=HashEmbedder())
        engine.explainer = Explainer(GenericFakeChatModel(messages=itertools.repeat("You rated it [1].")))
        return engine

    server = Server(service, open_engine)

    def stop() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=stop, daemon=True).start()
    print(address_of(listener).url, flush=True)  # noqa: T201 - the parent reads it
    server.run([listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
