from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.candidates.reranker import Reranker
from rag_rec.commands import proof as commands
from rag_rec.commands.proof import app
from rag_rec.engine.engine import Engine
from rag_rec.proof.table import Proof, Row
from tests.embedders import HashEmbedder
from tests.homes import running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, log


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A running service, beside which the command works in its own process."""
    engine = running(tmp_path, log(), reader=Reranker.default())
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path))
    monkeypatch.setenv("RAGREC_INTEREST_CLUSTERS", "4")
    monkeypatch.setattr(commands, "open_embedder", lambda *_: HashEmbedder())
    yield engine
    engine.close()


def test_a_proof_is_printed_and_stands_on_the_receipt(engine: Engine) -> None:
    request = forget(engine.officer, CANARY).requests[0]
    first = orjson.loads(engine.officer.receipt(request))
    result = CliRunner().invoke(app, [request, "--json"])
    assert result.exit_code == 0
    printed = orjson.loads(result.output)
    assert printed["ok"] is printed["equal"] is True
    assert (printed["request"], printed["mode"], printed["users"]) == (request, "exact", 5)
    assert {row["equal"] for row in printed["rows"]} == {True}
    receipt = orjson.loads(engine.officer.receipt(request))
    assert receipt["revision"] == first["revision"] + 1
    assert receipt["twin"]["rows"] == printed["rows"]


def test_a_sample(engine: Engine) -> None:
    request = forget(engine.officer, CANARY).requests[0]
    printed = orjson.loads(CliRunner().invoke(app, [request, "--sample", "2", "--json"]).output)
    assert (printed["mode"], printed["users_listed"]) == ("sampled", 2)


def test_a_difference_fails_the_command(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = forget(engine.officer, CANARY).requests[0]
    unequal = Proof((Row("histories", 5, 1, 1.0),), 9, 5, 5, "reader")
    monkeypatch.setattr("rag_rec.engine.officer.compare", lambda *_: unequal)
    result = CliRunner().invoke(app, [request, "--json"])
    assert result.exit_code == 1
    assert orjson.loads(result.output)["ok"] is False


def test_an_unknown_request(engine: Engine) -> None:
    result = CliRunner().invoke(app, ["nobody-asked", "--json"])
    assert result.exit_code == 1
    assert orjson.loads(result.output)["error"]["code"] == "unknown_request"
    assert engine.status().users == 6
