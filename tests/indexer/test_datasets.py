"""Fetching a data set from a server on loopback."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from indexer.datasets import Dataset, fetch
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.progress.protocol import Silent

ARCHIVE = bytes(range(256)) * 5000
MD5 = hashlib.md5(ARCHIVE, usedforsecurity=False).hexdigest()


@dataclass
class Server:
    """Serves :data:`ARCHIVE`; notes what was asked for."""

    url: str = ""
    ranges: list[str | None] = field(default_factory=list)
    breaks_off_after: int | None = None
    understands_ranges: bool = True


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            partial = asked is not None and state.understands_ranges
            start = int(str(asked).removeprefix("bytes=").removesuffix("-")) if partial else 0
            if start >= len(ARCHIVE):
                self.send_error(416)
                return
            self.send_response(206 if partial else 200)
            self.send_header("Content-Length", str(len(ARCHIVE) - start))
            self.end_headers()
            self.wfile.write(ARCHIVE[start : state.breaks_off_after])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/x.zip"
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def test_an_archive_is_fetched_once(server: Server, tmp_path: Path) -> None:
    dataset = Dataset("x", server.url, MD5)
    path = fetch(dataset, tmp_path / "new", Silent())
    assert path == tmp_path / "new" / "x.zip"
    assert path.read_bytes() == ARCHIVE
    assert fetch(dataset, tmp_path / "new", Silent()) == path
    assert server.ranges == [None]
    assert [file.name for file in path.parent.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("understands_ranges", [True, False])
def test_a_download_that_broke_off_goes_on(server: Server, tmp_path: Path, understands_ranges: bool) -> None:
    dataset = Dataset("x", server.url, MD5)
    server.breaks_off_after = 700_000
    server.understands_ranges = understands_ranges
    with pytest.raises(NotReady, match="Try again"):
        fetch(dataset, tmp_path, Silent())
    assert not (tmp_path / "x.zip").exists()
    have = (tmp_path / "x.zip.part").stat().st_size
    server.breaks_off_after = None
    assert fetch(dataset, tmp_path, Silent()).read_bytes() == ARCHIVE
    assert server.ranges == [None, f"bytes={have}-" if have else None]


def test_a_download_that_was_complete_but_not_named_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.zip.part").write_bytes(ARCHIVE)
    assert fetch(Dataset("x", server.url, MD5), tmp_path, Silent()).read_bytes() == ARCHIVE


def test_another_content_is_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not the published archive"):
        fetch(Dataset("x", server.url, "0" * 32), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/x.zip"
        with pytest.raises(NotReady, match="cannot be downloaded"):
            fetch(Dataset("x", url, MD5), tmp_path, Silent())
