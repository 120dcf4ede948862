"""Every long command gives signs of life where stderr is a pipe, and keeps stdout for its result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import indexer.compact_training
import indexer.drill_commands
import indexer.generator_commands
import indexer.index_commands
from indexer.commands import app as batch_app
from indexer.drill_commands import app as drill_app
from rag_rec.commands import forget_batch as batch
from rag_rec.commands import proof as proof_commands
from rag_rec.commands.copies import app as copies_app
from rag_rec.commands.forget import app as forget_app
from rag_rec.progress import lines
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import build, fill
from tests.indexer.compact_homes import LOG, build_compact, trained
from tests.rag_rec.forgetting.asking import forget_in

EMBEDDING = (
    indexer.compact_training,
    indexer.drill_commands,
    indexer.generator_commands,
    indexer.index_commands,
    batch,
    proof_commands,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A system whose commands are long from the first moment on."""
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGREC_INTEREST_CLUSTERS", "4")
    monkeypatch.setattr(lines, "FIRST_SECONDS", 0.0)
    for module in EMBEDDING:
        monkeypatch.setattr(module, "open_embedder", lambda *_: HashEmbedder())
    made = Settings()
    fill(made, LOG)
    return made


def run(app: Any, *arguments: str) -> tuple[Any, list[str]]:
    """What a command prints on stdout, and the stages that it tells of on stderr."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code in {0, 1}, done.output
    told = done.stderr.splitlines()
    assert told[-1].split()[1] in {"event=done", "event=failed"}
    stages = [re.search(r'stage=("[^"]*"|\S+)', line) for line in told]
    return orjson.loads(done.stdout), [found[1].strip('"') for found in stages if found]


def in_order(stages: Sequence[str], *expected: str) -> bool:
    """Whether the expected stages come in this order; others may come in between."""
    left = iter(stages)
    return all(stage in left for stage in expected)


BUILD = ("read the store", "item vectors", "clusters and histories", "people", "reader", "verify and publish")


def test_index_commands() -> None:
    assert in_order(run(batch_app, "index", "build")[1], *BUILD)
    assert in_order(run(batch_app, "index", "rebuild")[1], *BUILD)
    assert in_order(run(batch_app, "index", "verify")[1], "check files and content")


def test_ingest(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,text\ni,title\n")
    done, stages = run(batch_app, "ingest", str(path), "--format", "csv", "--kind", "items")
    assert done["accepted"] == 1
    assert in_order(stages, "items from items.csv")


def test_backup_and_restore(tmp_path: Path) -> None:
    file = str(tmp_path / "store.backup")
    assert in_order(run(copies_app, "backup", file)[1], "write rows")
    arguments = ("restore", file, "--without-later-erasures")
    stages = ("check the backup", "write rows", "replay the ledger", "scrub the store")
    assert in_order(run(copies_app, *arguments)[1], *stages)


def test_the_drill(settings: Settings) -> None:
    build(settings)
    done, stages = run(drill_app)
    assert done["ok"]
    expected = ("copy the system", "item vectors", "forget the person", "restore a backup that holds the person")
    assert in_order(stages, *expected, "look for the person")


def test_training_and_the_gate(settings: Settings) -> None:
    build(settings)
    quick = ("--width", "16", "--layers", "1", "--context", "10", "--device", "cpu", "--epochs", "1")
    shared = ("adapter", "settle forget requests", "load the index")
    assert in_order(run(batch_app, "compact", "build", *quick)[1], "read items and people", "base", *shared)
    assert in_order(run(batch_app, "adapter", "retrain", "--device", "cpu")[1], "read items and people", *shared)
    assert in_order(run(batch_app, "generator", "gate")[1], "load the index")


def test_prove(settings: Settings) -> None:
    build(settings)
    request = forget_in(settings, "user-3").request_id
    done, stages = run(proof_commands.app, request)
    assert done["equal"]
    twin = ("build the twin: read the catalogue", "build the twin: people", "build the twin: counts and P")
    compared = [f"compare {row['check']}" for row in done["rows"]]
    assert in_order(stages, "load the index", *twin, *compared, "sign the receipt")
    assert {"compare inverse P (relative)", "compare recommendation lists"} <= set(compared)


def test_forgetting_a_batch(settings: Settings, tmp_path: Path) -> None:
    build(settings)
    path = tmp_path / "people.txt"
    path.write_text("user-1\nuser-2\n")
    planned = CliRunner().invoke(forget_app, ["forget", "batch", str(path), "--dry-run", "--json"])
    quoted = ("--confirm", "2", "--plan", orjson.loads(planned.stdout)["plan"])
    stages = run(forget_app, "forget", "batch", str(path), *quoted)[1]
    assert in_order(stages, "load the index", "look at those who remain", "forget", "compare with the twin")


def test_an_interrupted_build_says_so_and_goes_on_where_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> Any:  # noqa: ARG002 - the seam's signature
            raise KeyboardInterrupt

    monkeypatch.setattr(indexer.index_commands, "open_embedder", lambda *_: Interrupted())
    done = CliRunner().invoke(batch_app, ["index", "build", "--json"])
    assert done.exit_code == 130
    assert "event=interrupted" in done.stderr
    assert orjson.loads(done.stdout)["error"]["message"].startswith("Interrupted; run the same command again")
    monkeypatch.setattr(indexer.index_commands, "open_embedder", lambda *_: HashEmbedder())
    assert run(batch_app, "index", "build")[0]["items"] == 12
    assert build_compact(settings, trained()).adapter.digest


def test_the_people_of_a_job_are_not_named(settings: Settings) -> None:
    build(settings)
    request = forget_in(settings, "user-3").request_id
    told = CliRunner().invoke(proof_commands.app, [request, "--json"]).stderr
    assert "user-" not in told
    assert request not in told
