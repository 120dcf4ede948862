"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, as a user without privileges."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_NOBODY = "nobody"
_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200")


def missing_binaries() -> str | None:
    """Why no server can be started here, None if one can."""
    lacking = [name for name in ("initdb", "postgres") if shutil.which(name) is None]
    return f"PostgreSQL's {' and '.join(lacking)} are not installed" if lacking else None


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server; yields its SQLAlchemy URL without a database name."""
    # The server refuses to run as root, and a user without privileges cannot enter the folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="rag-rec-postgres-"))
    as_user = {"user": _NOBODY} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, _NOBODY)
    port = _free_port()
    data = str(folder / "data")
    try:
        _run(["initdb", "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"], folder, as_user)
        command = [str(shutil.which("postgres")), "-D", data, "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
        for setting in _SETTINGS:
            command += ["-c", setting]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **as_user)  # type: ignore[call-overload]
        try:
            _wait_until_ready(server, port)
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/"
        finally:
            server.send_signal(signal.SIGQUIT)  # nobody needs the data any more
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
