"""A real service as a process of its own, over a small system: what another host is to a removal.

Run as ``python -m tests.rag_rec.forgetting.service``, with the settings in the environment. It prints its address, and
the word ``computed`` whenever an answer is made and has not been sent yet.

Args:
    argv[1]: seconds after which a silent service counts as dead; its lease is shorter.
    argv[2]: seconds between the making of an answer and its sending.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import httpx

from rag_rec.domain import Recommendation, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.process import RemovalProcess
from rag_rec.presence import replicas
from rag_rec.settings import Settings
from serving.auth import Keyring
from serving.logs import open_log
from serving.server import address_of, bind, serve
from serving.service import Service
from tests.embedders import HashEmbedder

ROOT = Path(__file__).parents[3]
KEY = "the-key-of-the-test"


class Running:
    """A started service."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: IO[str]) -> None:
        self.process = process
        self.url = url
        self.lines = lines


@contextmanager
def started(settings: Settings, *, expiry: float = 15.0, linger: float = 0.0) -> Iterator[Running]:
    """Start a service and end it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAGREC_")},
        "RAGREC_HOME": str(settings.home),
        "RAGREC_STORE_URL": settings.database_url,
        "RAGREC_API_KEYS": f'{{"{KEY}": ["admin"]}}',
        "RAGREC_INTEREST_CLUSTERS": "4",
        "RAGREC_CANDIDATES": "10",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.rag_rec.forgetting.service", str(expiry), str(linger)]
    with (
        (settings.home / "service.log").open("ab") as log,
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield Running(process, process.stdout.readline().strip(), process.stdout)
        finally:
            process.kill() if process.poll() is None else None


def shorten(expiry: float) -> None:
    """Let a silent service count as dead after so many seconds, with a lease and signs of life to fit."""
    replicas.EXPIRY_MS = int(1000 * expiry)  # type: ignore[misc]
    replicas.LEASE_MS = int(1000 * expiry * 2 / 3)  # type: ignore[misc]
    replicas.BEAT_MS = int(1000 * expiry / 5)  # type: ignore[misc]


def shortened() -> None:
    """The same in the process of the removals."""
    shorten(float(sys.argv[1]))


class LingeringEngine(Engine):
    """Takes its time between making an answer and handing it on."""

    def recommend(self, request: RecommendationRequest) -> Recommendation:
        answer = super().recommend(request)
        if float(sys.argv[2]):
            print("computed", flush=True)  # noqa: T201 - the test waits for it
            time.sleep(float(sys.argv[2]))
        return answer


def _open(settings: Settings) -> Engine:
    return LingeringEngine.open(settings, embedder=HashEmbedder(), removals=RemovalProcess(settings, shortened))


def main() -> None:
    shortened()
    settings = Settings()
    service = Service(settings, Keyring.from_settings(settings.api_keys), open_log())
    listener = bind("127.0.0.1", 0)
    print(address_of(listener).url, flush=True)  # noqa: T201 - the test reads it
    serve(service, [listener], partial(_open, settings))


if __name__ == "__main__":
    main()


class Caller:
    """Calls one service."""

    def __init__(self, service: Running) -> None:
        self.client = httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=120, trust_env=False
        )
        while self.client.get("/readyz").status_code != 200:
            assert service.process.poll() is None

    def forget(self, user_id: str) -> str:
        address = f"/v1/users/{user_id}"
        plan = self.client.delete(address, params={"dry_run": True}).raise_for_status().json()["plan"]
        answer = self.client.delete(address, params={"confirm": user_id, "plan": plan}).raise_for_status()
        state: str = answer.json()["state"]
        return state

    def recommend(self, user_id: str) -> httpx.Response:
        return self.client.post("/v1/recommendations", json={"user_id": user_id, "k": 3})
