from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import orjson
import pytest
import structlog

from rag_rec.home.opening import store_of
from tests.homes import settings_for
from tests.rag_rec.commands.asking import call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a system in which there is nothing yet."""
    store_of(settings_for(tmp_path)).close()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["forget", "user"], "invalid_input"),
        (["forget", "nothing"], "invalid_input"),
        (["index", "list", "--bogus"], "invalid_input"),
        (["index", "verify"], "not_ready"),
        (["index", "activate", "nothing"], "invalid_input"),
        (["forget", "user", "nobody", "--dry-run"], "unknown_user"),
        (["forget", "user", "nobody", "--confirm", "nobody"], "confirmation_required"),
        (["forget", "user", "nobody", "--confirm", "nobody", "--plan", "0" * 64], "unknown_user"),
        (["forget", "user", "nobody"], "confirmation_required"),
        (["forget", "interactions", "nobody", "--before", "soon", "--confirm", "nobody"], "invalid_input"),
        (["index", "build"], "invalid_input"),
    ],
)
def test_a_failure_is_one_json_object_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str
) -> None:
    assert call(monkeypatch, home, *arguments, "--json") != 0
    printed = orjson.loads(capsys.readouterr().out)
    assert printed["error"]["code"] == code
    assert printed["error"]["message"]


def test_a_success_is_one_json_object_and_exit_code_0(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, home, "index", "list", "--json") == 0
    assert orjson.loads(capsys.readouterr().out) == {"current": None, "generations": []}


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, home, "--version") == 0
    assert capsys.readouterr().out == f"rag-rec {version('rag-rec')}\n"


def test_without_json_errors_are_words_on_stderr(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, home, "index", "verify") == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "rag-rec index build" in printed.err


def test_settings_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAGREC_PORT", "many")
    assert call(monkeypatch, home, "index", "list", "--json") == 1
    assert "RAGREC_PORT" in orjson.loads(capsys.readouterr().out)["error"]["message"]


def test_the_log_of_the_library_stays_off_stdout(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, home, "index", "verify", "--json")
    capsys.readouterr()
    structlog.get_logger().warning("generator_unavailable")
    written = capsys.readouterr()
    assert written.out == ""
    assert "generator_unavailable" in written.err


def test_no_command_pays_at_its_start_for_libraries_that_few_commands_need() -> None:
    program = (
        "import sys; from rag_rec.commands.app import build_app; build_app();"
        "loaded = {'torch', 'transformers', 'sklearn', 'scipy.stats'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
