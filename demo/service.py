"""Runs the real commands and the real service as processes of their own, on a data folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from rag_rec.domain import Strategy
from rag_rec.errors import NotReady, RagRecError

START_SECONDS = 120.0
POLL_SECONDS = 0.05
PROGRAM = Path(sys.executable).with_name("rag-rec")


class Commands:
    """The command line on one data folder. Settings of the caller's environment do not reach it."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAGREC_")}
        self.environment = {**inherited, **settings, "RAGREC_HOME": str(home)}

    def run(self, *words: str) -> dict[str, Any]:
        """Run ``rag-rec WORDS --json`` and return what it prints.

        Raises:
            RagRecError: the command failed.
        """
        return self.result(self.start(*words))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command and let it run. Its progress goes to our stderr."""
        return subprocess.Popen(  # noqa: S603 - our own program, no shell
            [str(PROGRAM), *words, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )

    @staticmethod
    def result(process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for a command and return what it prints."""
        output, _ = process.communicate()
        try:
            document: dict[str, Any] = orjson.loads(output)
        except orjson.JSONDecodeError:
            raise RagRecError(f"A command ended with status {process.returncode} and no result.") from None
        if process.returncode != 0:
            raise RagRecError(f"A command failed: {document.get('error', document)}.")
        return document


class Api:
    """The service's HTTP interface, called with one key."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0, trust_env=False
        )

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One call, whatever its status."""
        return self._client.request(method, path, **arguments)

    def recommend(self, user_id: str, strategy: Strategy = Strategy.PREFERENCE, k: int = 5) -> dict[str, Any]:
        """A recommendation."""
        body = {"user_id": user_id, "k": k, "strategy": strategy}
        return self._ok(self.call("POST", "/v1/recommendations", json=body))

    def add(self, user_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Store an event."""
        return self._ok(self.call("POST", f"/v1/users/{user_id}/interactions", json=event))

    def plan(self, user_id: str) -> dict[str, Any]:
        """What would go if a user were forgotten, and the hash to quote."""
        return self._ok(self.call("DELETE", f"/v1/users/{user_id}", params={"dry_run": "true"}))

    def forget(self, user_id: str, plan: str) -> dict[str, Any]:
        """Forget a user as planned."""
        return self._ok(self.call("DELETE", f"/v1/users/{user_id}", params={"confirm": user_id, "plan": plan}))

    def receipt(self, request: str) -> dict[str, Any]:
        """The latest receipt of a forget request."""
        return self._ok(self.call("GET", f"/v1/forget/{request}/receipt"))

    def prove(self, request: str) -> dict[str, Any]:
        """Compare the running service with a twin that never knew the person."""
        return self._ok(self.call("POST", f"/v1/forget/{request}/prove", timeout=120.0))

    def export(self, user_id: str) -> httpx.Response:
        """Everything stored about a user; status 404 for a stranger."""
        return self.call("GET", f"/v1/users/{user_id}/export")

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    @staticmethod
    def _ok(response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise RagRecError(f"The service answered {response.status_code}: {response.text}")
        document: dict[str, Any] = response.json()
        return document


class RunningService:
    """``rag-rec serve`` on a free port, its log in a file. A context manager: it stops the process at the end.

    ``arguments`` are further ones for the command.
    """

    def __init__(self, commands: Commands, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", "0", "--json", *arguments],
                env=commands.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._process.poll()

    def wait_until_ready(self) -> str:
        """The service's address, once it can answer.

        Raises:
            NotReady: the service ended, or took too long.
        """
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise NotReady(f"The service ended at its start; see {self._log}.")
            url = self._address()
            if url is not None:
                with suppress(httpx.TransportError):
                    if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                        return url
            time.sleep(POLL_SECONDS)
        raise NotReady(f"The service did not get ready within {START_SECONDS:.0f} s; see {self._log}.")

    def _address(self) -> str | None:
        """The address that the service states in its log when it has bound its port."""
        for line in self._log.read_bytes().splitlines():
            with suppress(orjson.JSONDecodeError):
                record = orjson.loads(line)
                if isinstance(record, dict) and record.get("event") == "listening":
                    return str(record["url"])
        return None
