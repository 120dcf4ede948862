"""Every benchmark answers ``--help`` before it does anything: no result is overwritten by a question."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

import pytest

import benchmarks

FOLDER = Path(str(benchmarks.__file__)).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py") if "\ndef main(" in path.read_text())


def results() -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "results").iterdir()}


def test_there_are_programs() -> None:
    written = {path.stem for path in FOLDER.glob("*.py") if "write_results(" in path.read_text()}
    assert written - {"report"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--no-such-option", 2)])
def test_a_benchmark_that_is_asked_for_help_measures_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    option: str,
    code: int,
) -> None:
    module, before = import_module(f"benchmarks.{name}"), results()
    monkeypatch.setattr("sys.argv", [f"benchmarks/{name}.py", option])
    monkeypatch.setattr("benchmarks.report.RESULTS", tmp_path)
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == code
    assert "usage:" in "".join(capsys.readouterr())
    assert results() == before
    assert not list(tmp_path.iterdir())
