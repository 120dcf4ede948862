"""The page "Use it from Python": every block of code runs, in order, and prints what the page shows."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs/python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of code, each with the output that the page shows after it."""
    return [(code, shown or "") for code, shown in BLOCK.findall(page)]


def printed(code: str, names: dict[str, Any]) -> str:
    """What a block prints. It knows, and adds to, the names of the blocks before it."""
    out = StringIO()
    with redirect_stdout(out):
        exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - the page is ours
    return out.getvalue()


def test_every_block_of_the_page_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    text = PAGE.read_text()
    assert len(blocks(text)) == text.count("```python") > 5
    assert sum(bool(shown) for _, shown in blocks(text)) == text.count("```text")
    for code, shown in blocks(text):
        assert printed(code, names) == shown, code
