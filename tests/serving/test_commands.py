from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands.app import build_app
from serving.commands import app

SERVE = """
import rag_rec, sys, types
from serving.commands import app
from tests.serving.fake_engine import FakeEngine

module = types.ModuleType("rag_rec.engine.engine")
module.Engine = types.SimpleNamespace(open=lambda settings, removals: removals.close() or FakeEngine())
rag_rec.engine.engine = sys.modules["rag_rec.engine.engine"] = module
app()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAGREC_")}
    return {**kept, "RAGREC_HOME": str(tmp_path), "RAGREC_API_KEYS": '{"the-key-of-the-test": ["admin"]}'}


def test_openapi_is_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGREC_API_KEYS", raising=False)
    for arguments in (["openapi"], ["openapi", "--json"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0
        assert "/v1/recommendations" in orjson.loads(result.stdout)["paths"]


def test_it_refuses_to_start_without_keys(environment: dict[str, str]) -> None:
    del environment["RAGREC_API_KEYS"]
    result = CliRunner().invoke(app, ["serve", "--json", "--port", "0"], env={**environment, "RAGREC_API_KEYS": "{}"})
    assert result.exit_code == 1
    error = orjson.loads(result.stdout)["error"]
    assert error["code"] == "invalid_input"
    assert "RAGREC_API_KEYS" in error["message"]


def test_a_server_that_nothing_would_ask_is_refused(environment: dict[str, str]) -> None:
    result = CliRunner().invoke(app, ["serve", "--json", "--base-url", "http://127.0.0.1:9"], env=environment)
    assert result.exit_code == 1
    assert "--generator vllm" in orjson.loads(result.stdout)["error"]["message"]


def test_the_commands_are_part_of_the_command_line() -> None:
    result = CliRunner().invoke(build_app(), ["--help"])
    assert {"serve", "openapi"} <= set(result.stdout.split())


@pytest.mark.integration
def test_it_serves_until_it_is_told_to_stop(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0", "--json"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, env=environment, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        events = map(orjson.loads, process.stderr)
        url = next(event["url"] for event in events if event["event"] == "listening")
        next(event for event in events if event["event"] == "ready")
        headers = {"X-API-Key": "the-key-of-the-test"}
        assert httpx.post(f"{url}/v1/recommendations", json={"user_id": "u"}, headers=headers).status_code == 200
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    result = orjson.loads(output)
    assert (result["ok"], result["requests"], result["port"]) == (True, 1, httpx.URL(url).port)
