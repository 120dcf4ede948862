"""What the audit says, above all where nothing could be looked up."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tools.audit import Audit, audit, read

SOUND = {"name": "alpha", "version": "1", "vulns": []}
SKIPPED = {"name": "beta", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {"name": "gamma", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3"]}]}


@pytest.mark.parametrize(
    ("report", "code"),
    [
        ([SOUND], 0),
        ([SOUND, SKIPPED], 2),
        ([SKIPPED], 2),
        ([], 2),
        ([SOUND, VULNERABLE], 1),
        ([SKIPPED, VULNERABLE], 1),
    ],
)
def test_only_what_was_looked_up_whole_passes(report: list[dict[str, Any]], code: int) -> None:
    assert read(report).code == code


def test_a_vulnerability_is_named_with_its_fix() -> None:
    assert read([VULNERABLE]).vulnerable == ("gamma 2: CVE-1, fixed in 2.1, 3",)


@pytest.mark.parametrize("output", ["", "Traceback", "{}", json.dumps({"dependencies": [SKIPPED]})])
def test_without_a_service_nothing_counts_as_looked_up(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, output, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert audit(["beta==1"]) == Audit(0, (), ("beta",))
