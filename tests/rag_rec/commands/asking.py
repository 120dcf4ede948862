"""The command line, and the parts of a system, asked as a person does."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.commands.app import main
from rag_rec.commands.doctor import examine
from rag_rec.settings import Settings


def call(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str) -> int:
    monkeypatch.setenv("RAGREC_HOME", str(home))
    monkeypatch.setattr("sys.argv", ["rag-rec", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def detail(settings: Settings, part: str) -> str:
    return next(finding.detail for finding in examine(settings) if finding.part == part)
