"""The command line, and the parts of a system, asked as a person does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer import Typer
from typer.testing import CliRunner

from rag_rec.commands.app import main
from rag_rec.commands.doctor import examine
from rag_rec.settings import Settings


def call(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    monkeypatch.setenv("RAGREC_HOME", str(home))
    monkeypatch.setattr("sys.argv", ["rag-rec", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def printed(app: Typer, *arguments: str, code: int = 0) -> Any:
    """What a command prints with ``--json``; it has to end with this code."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == code, done.output
    return orjson.loads(done.stdout)


def detail(settings: Settings, part: str) -> str:
    return next(finding.detail for finding in examine(settings) if finding.part == part)
