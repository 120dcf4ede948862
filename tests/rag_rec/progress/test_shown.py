"""A bar on a terminal, here a pseudo-terminal, and lines in a pipe."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rag_rec.progress import lines
from rag_rec.progress.shown import Shown

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """What was drawn on a pseudo-terminal."""

    def __init__(self) -> None:
        self.text = ""
        self.changed = threading.Condition()

    def read(self, master: int) -> None:
        while True:
            try:
                piece = os.read(master, 65_536)
            except OSError:  # the other end is closed
                piece = b""
            with self.changed:
                self.text += piece.decode(errors="replace")
                self.changed.notify_all()
            if not piece:
                return

    def wait_for(self, pattern: str) -> bool:
        """Wait until something has been drawn."""
        with self.changed:
            return self.changed.wait_for(lambda: re.search(pattern, ESCAPES.sub("", self.text)) is not None, 30)


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Stderr is a terminal as long as this lasts."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    master, slave = pty.openpty()
    shown = Terminal()
    reader = threading.Thread(target=shown.read, args=(master,), daemon=True)
    reader.start()
    with monkeypatch.context() as patched, os.fdopen(slave, "w") as stream:
        patched.setattr(sys, "stderr", stream)
        yield shown
    reader.join(30)
    os.close(master)


def test_a_bar_moves_from_the_start_and_shows_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        with Shown("index build") as told:
            assert shown.wait_for("starting")
            told.stage("item vectors", 8)
            assert shown.wait_for(r"item vectors.* 0/8")
            told.advance(1)
            assert shown.wait_for(r"item vectors.* 1/8 .*left")
            told.stage("clusters", 0)
            assert shown.wait_for("clusters")
        assert shown.wait_for(r"item vectors.* 8/8")
    assert "event=progress" not in shown.text


def test_an_interrupted_bar_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        with pytest.raises(KeyboardInterrupt), Shown("index build") as told:
            told.stage("item vectors", 8)
            told.advance(1)
            assert shown.wait_for("1/8")
            raise KeyboardInterrupt
        assert "8/8" not in shown.text


def test_lines_where_stderr_is_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_SECONDS", 0.0)
    reading, writing = os.pipe()
    with monkeypatch.context() as patched, os.fdopen(writing, "w") as stream:
        patched.setattr(sys, "stderr", stream)
        with Shown("index build") as told:
            told.stage("item vectors", 8)
    with os.fdopen(reading) as stream:
        written = stream.read()
    assert "event=progress" in written
    assert "event=done" in written
    assert "\x1b" not in written
