"""A person is planted in every place where bytes of people can lie, is forgotten, and every byte is looked at."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal

from benchmarks.methods.crash_cases import CANARIES, CASES, expectation, prepare
from benchmarks.methods.interruptions import Point, stopped_at
from indexer.sources.csv import CsvSource
from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.folder import AdapterStore
from rag_rec.engine.engine import Engine
from rag_rec.errors import Unfinished
from rag_rec.forgetting.receipts.document import findings_in
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import LATER, LayerName, Status
from rag_rec.proof.forensics import marks_of, traces_of
from rag_rec.store import connecting
from rag_rec.store.records import Selection
from serving.app import create_app
from serving.auth import Keyring, Role
from serving.logs import open_log
from serving.service import Service
from tests.homes import ITEMS, engine_of, settings_for
from tests.indexer.ingesting import csv_source, ingest
from tests.rag_rec.forgetting.asking import forget, forget_in
from tests.rag_rec.forgetting.homes import number_of

CANARY = CANARIES[0]
KEY = "key-of-a-test"
HEADER = "user_id,item_id,event,value,text,time\n"


class Interrupted(BaseException):
    """Stands for the death of a process."""


def interrupt() -> None:
    raise Interrupted


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations, an unfinished build, a checkpoint of a training, and a person who was forgotten before."""
    return prepare(tmp_path_factory.mktemp("template") / "home").home


@pytest.fixture
def engine(template: Path, tmp_path: Path) -> Iterator[Engine]:
    home = tmp_path / "home"
    shutil.copytree(template, home)
    engine = engine_of(settings_for(home))
    yield engine
    engine.close()


def marks(engine: Engine) -> list[bytes]:
    """Everything by which the canary could be recognised: id, texts and vectors in every form."""
    own = engine.live.people.own_vectors(number_of(engine.store, CANARY))
    vectors = [engine.live.people.profile(number_of(engine.store, CANARY)), *own.values()]
    assert len(own) == 3
    codes = [np.asarray(vector, dtype=kind).tobytes() for vector in vectors for kind in (np.float16, np.float32)]
    return [*expectation(engine, CASES[0]).marks, *codes]


def places(home: Path, sought: Sequence[bytes]) -> set[str]:
    """The files in which any of these bytes are, relative to the home."""
    files = (path for path in home.rglob("*") if path.is_file())
    return {path.relative_to(home).as_posix() for path in files if traces_of(sought, path).occurrences}


def plant_checkpoint(engine: Engine) -> None:
    """A training that saw the canary was interrupted."""
    vector = np.asarray(engine.live.people.profile(number_of(engine.store, CANARY)), dtype=np.float32)
    training = AdapterStore(engine.settings.compact).training
    Checkpoints(training, "another").save(Checkpoint(TrainingState(2, 0.5, {"person": vector}), engine.store.epoch()))


def plant_interrupted_rewriting(engine: Engine) -> None:
    """The removal of somebody else was killed: half of a successor, and of a file of the unfinished build, is left."""
    with stopped_at(Point("rag_rec.index.generation:Generations._seal", 1), interrupt), pytest.raises(Interrupted):
        forget(engine.officer, "user-4")
    build = next(
        path for path in engine.current.generations.building() if path not in engine.current.generations.leftovers()
    )
    shard = build / "interactions" / f"{number_of(engine.store, CANARY):02d}.safetensors"
    shutil.copyfile(shard, shard.with_suffix(".rewritten"))


def plant_ingest(engine: Engine, folder: Path) -> None:
    """A file with the canary was ingested, some of its rows were refused, and then the job was killed."""
    rows = [
        f"{CANARY},item-3,like,,words 1 that only {CANARY} would say,{300 * 86_400}",
        f"{CANARY},no-such-item,like,,words 1 that only {CANARY} would say,1",
        f"{CANARY},item-2,rating,five,words 3 that only {CANARY} would say,2",
        f"{CANARY},item-2,rating,5,words 5 that only {CANARY} would say,{CANARY}",
        f"{CANARY},item-2,{CANARY},,,{CANARY}",
    ]
    source: CsvSource = csv_source(folder / "source.csv", HEADER + "\n".join(rows) + "\n")
    store = store_of(engine.settings)
    with (
        stopped_at(Point("rag_rec.store.checkpoints:Checkpoints.clear_checkpoint", 1), interrupt),
        pytest.raises(Interrupted),
    ):
        ingest(store, source, engine.settings.home / "rejects" / "source.jsonl")
    store.close()


def test_nothing_is_left_of_a_person_who_was_everywhere(engine: Engine, tmp_path: Path) -> None:
    home = engine.settings.home
    plant_checkpoint(engine)
    plant_interrupted_rewriting(engine)
    plant_ingest(engine, tmp_path)
    sought = marks(engine)
    before = places(home, sought)
    kinds = {
        "store": [name for name in before if name.startswith("store.sqlite3")],
        "log": [name for name in before if name == "store.sqlite3-wal"],
        "published": [name for name in before if "/2" in name and name.startswith("generations/2")],
        "build": [name for name in before if name.startswith("generations/building-") and "rewriting" not in name],
        "rewriting": [name for name in before if name.startswith("generations/building-rewriting-")],
        "partial": [name for name in before if name.endswith(".rewritten")],
        "training": [name for name in before if name.startswith("compact/training/")],
    }
    assert all(kinds.values()), kinds
    assert (home / "rejects" / "source.jsonl").read_bytes().count(b"\n") == 4
    assert forget(engine.officer, CANARY).state == "complete"
    assert places(home, sought) == set()
    assert (home / "rejects" / "source.jsonl").exists()
    engine.refresh()
    assert engine.officer.pending() == []  # nor that of the person whose removal was killed


def test_nothing_that_was_forgotten_of_a_person_is_left(engine: Engine) -> None:
    case = CASES[2]
    assert case.request.selection is not None
    sought = expectation(engine, case).marks
    assert places(engine.settings.home, sought)
    forget(engine.officer, CANARY, case.request.selection)
    assert places(engine.settings.home, sought) == set()
    assert places(engine.settings.home, marks_of(CANARY))


def test_ledger_and_receipts_name_nobody(engine: Engine) -> None:
    gone = Selection(item_ids=frozenset({ITEMS[1].id}))
    outcomes = [forget(engine.officer, CANARY, gone), forget(engine.officer, CANARY)]
    engine.officer.consent(CANARY)
    texts = [engine.officer.receipt(outcome.request_id) for outcome in outcomes]
    texts += [entry.body for entry in engine.store.ledger()]
    assert len(texts) == 2 + 7
    assert [text for text in texts if CANARY in text or "only" in text] == []
    assert traces_of(marks_of(CANARY), engine.settings.ledger_file).occurrences == 0


def test_readers_who_are_idle_keep_nothing(engine: Engine) -> None:
    sought = marks(engine)
    with closing(sqlite3.connect(engine.settings.home / "store.sqlite3", isolation_level=None)) as reranker:
        assert reranker.execute("SELECT count(*) FROM interactions").fetchone()[0] > 30
        forget(engine.officer, CANARY)
        assert places(engine.settings.home, sought) == set()
        assert reranker.execute("SELECT count(*) FROM users WHERE id = ?", [CANARY]).fetchone() == (0,)


def test_a_reader_at_work_delays_a_removal_and_does_not_spoil_it(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = tuple(pragma for pragma in connecting.SQLITE_PRAGMAS if "busy_timeout" not in pragma)
    monkeypatch.setattr(connecting, "SQLITE_PRAGMAS", (*impatient, "PRAGMA busy_timeout = 10"))
    home = tmp_path / "home"
    shutil.copytree(template, home)
    engine = engine_of(settings_for(home))
    sought = marks(engine)
    with closing(sqlite3.connect(home / "store.sqlite3", isolation_level=None)) as reranker:
        reranker.execute("BEGIN")
        assert reranker.execute("SELECT count(*) FROM users WHERE id = ?", [CANARY]).fetchone() == (1,)
        with pytest.raises(Unfinished, match="Another process is still reading"):
            forget(engine.officer, CANARY)
        assert engine.store.user(CANARY) is None
        (pending,) = engine.officer.pending()
        findings = findings_in(engine.officer.receipt(pending.request_id))
        assert [each.layer for each in findings if each.status is Status.PENDING and each.layer not in LATER] == [
            LayerName.STORE
        ]
        assert all("store.sqlite3" in place for place in places(home, sought))  # the index files are rewritten
        reranker.execute("COMMIT")
    engine.refresh()
    assert engine.officer.pending() == []
    assert places(home, sought) == set()
    engine.close()


def test_the_log_of_a_service_holds_nobody(engine: Engine) -> None:
    log, sought = io.BytesIO(), marks(engine)
    service = Service(engine.settings, Keyring({KEY: frozenset({Role.ADMIN})}), open_log(log), engine)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(service)), base_url="http://service")
    with start_blocking_portal() as portal:

        def call(method: str, path: str, **options: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {KEY}"}
            response: httpx.Response = portal.call(partial(client.request, method, path, headers=headers, **options))
            return response

        assert live_a_life(call) == [200, 422, 200, 404, 200, 409, 200, 200, 404, 200, 404]
    service.close()
    lines = log.getvalue().splitlines()
    assert len(lines) >= 11
    assert [line for line in lines if any(mark in line for mark in sought)] == []
    assert places(engine.settings.home, sought) == set()


def live_a_life(call: Callable[..., httpx.Response]) -> list[int]:
    """What a person may cause to be logged, errors included, up to the removal and after it."""
    path, text = f"/v1/users/{CANARY}", f"words 1 that only {CANARY} would say"
    question, event = {"user_id": CANARY, "k": 3}, {"item_id": "item-3", "text": text, "time": 1000}
    before = [
        call("POST", "/v1/recommendations", json=question),
        call("POST", "/v1/recommendations", json={**question, "filters": f"{CANARY} = 1"}),
        call("POST", f"{path}/interactions", json=event),
        call("POST", f"{path}/interactions", json={**event, "item_id": CANARY}),
        call("GET", f"{path}/export"),
        call("DELETE", path, params={"confirm": CANARY, "plan": "0" * 64}),
        planned := call("DELETE", path, params={"dry_run": True}),
    ]
    after = [
        call("DELETE", path, params={"confirm": CANARY, "plan": planned.json()["plan"]}),
        call("GET", f"{path}/export"),
        call("POST", f"{path}/interactions", json=event),
        call("DELETE", path, params={"dry_run": True}),
    ]
    return [response.status_code for response in [*before, *after]]


def test_a_forgotten_person_leaves_no_byte_without_a_running_service(engine: Engine) -> None:
    sought = marks(engine)
    engine.close()
    forget_in(engine.settings, CANARY)
    assert places(engine.settings.home, sought) == set()
