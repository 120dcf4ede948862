"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, as a user without privileges."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

_NOBODY = "nobody"
_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200")


def missing_binaries() -> str | None:
    """Why no server can be started here, None if one can."""
    lacking = [name for name in ("initdb", "postgres") if shutil.which(name) is None]
    return f"PostgreSQL's {' and '.join(lacking)} are not installed" if lacking else None


class Server:
    """A server that can be stopped and started again on the same address."""

    def __init__(self, folder: Path, as_user: dict[str, str], settings: Sequence[str] = _SETTINGS) -> None:
        self.port = _free_port()
        self._folder = folder
        self._as_user = as_user
        self._settings = settings
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its SQLAlchemy URL without a database name."""
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/"

    def create(self) -> None:
        """Make its data folder."""
        options = ["-U", "tester", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"]
        _run(["initdb", "-D", str(self._folder / "data"), *options], self._folder, self._as_user)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        data, folder = str(self._folder / "data"), str(self._folder)
        command = [str(shutil.which("postgres")), "-D", data, "-p", str(self.port), "-k", folder, "-h", "127.0.0.1"]
        for setting in self._settings:
            command += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **self._as_user)  # type: ignore[call-overload]
        _wait_until_ready(self._running, self.port)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its connections, SIGQUIT leaves everything as a crash would."""
        if self._running is not None:
            self._running.send_signal(how)
            self._running.wait(30)
            self._running = None


@contextmanager
def started_server(settings: Sequence[str] = _SETTINGS) -> Iterator[Server]:
    """A server that is running; unless told otherwise, it spares itself the disk."""
    # The server refuses to run as root, and a user without privileges cannot enter the folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="rag-rec-postgres-"))
    as_user = {"user": _NOBODY} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, _NOBODY)
    server = Server(folder, as_user, settings)
    try:
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # nobody needs the data any more
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server; yields its SQLAlchemy URL without a database name."""
    with started_server() as server:
        yield server.url


def _run(command: list[str], folder: Path, as_user: dict[str, str]) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, **as_user)  # type: ignore[call-overload]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=tester dbname=postgres", connect_timeout=5).close()
        except psycopg.OperationalError:
            continue
        return
    raise RuntimeError("the PostgreSQL server stopped while starting")
