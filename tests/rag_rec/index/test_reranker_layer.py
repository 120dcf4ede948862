"""What a receipt says of the fusion reranker: this system's own figure, with its origin, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from rag_rec.artifacts.digests import MANIFEST, digest_files
from rag_rec.candidates.reranker import DESCRIPTION_FILE
from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.evaluation.membership import Membership
from rag_rec.forgetting.receipts.document import findings_in
from rag_rec.index.generation import Generation, Generations
from rag_rec.index.reranker_layer import ReaderFindings
from rag_rec.layers.finding import Finding, LayerName, Status
from tests.homes import ITEMS, build, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, DAY, log
from tests.rag_rec.forgetting.rerankers import FIGURE, fitted_reranker

CROWD = 400
STRIDES = (1, 5, 7, 11)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log(), reranker=fitted_reranker(FIGURE))
    yield engine
    engine.close()


def finding(generations: Generations, erased: int) -> Finding:
    return ReaderFindings(generations).of(erased)


def crowd() -> list[Interaction]:
    """Enough people to fit a reranker and keep some out."""
    return [
        Interaction(f"person-{u}", ITEMS[(u + n * STRIDES[u % 4]) % len(ITEMS)].id, (100 + n) * DAY, "like")
        for u in range(CROWD)
        for n in range(6)
    ]


def change(generation: Generation, membership: object) -> None:
    """Write other words into the reranker's description, and the digests that belong to them."""
    path = generation.folder / "reader" / DESCRIPTION_FILE
    description = orjson.loads(path.read_bytes())
    description.pop("membership")
    if membership is not ...:
        description["membership"] = membership
    path.write_bytes(orjson.dumps(description))
    manifest = generation.folder / MANIFEST
    fields = orjson.loads(manifest.read_bytes())
    fields["files"] = {name: vars_of(digest) for name, digest in digest_files(generation.folder).items()}
    manifest.write_bytes(orjson.dumps(fields))


def vars_of(digest: object) -> dict[str, object]:
    return {name: getattr(digest, name) for name in ("size", "sha256")}


def test_the_figure_on_the_receipt_is_that_of_the_systems_own_reader(tmp_path: Path) -> None:
    engine = running(tmp_path / "home", [*crowd(), *log()])
    try:
        built = engine.current.generations.current()
        measured = engine.live.reranker.membership
        assert measured is not None
        assert measured.generation == built.id
        assert measured.held_out >= 50
        assert measured.members > 3 * measured.held_out
        receipt = engine.officer.receipt(forget(engine.officer, CANARY).request_id)
        (line,) = (each for each in findings_in(receipt) if each.layer == LayerName.READER)
        assert line.status is Status.MEASURED
        assert line.detail == {
            "membership_inference_auc": measured.auc,
            "low": measured.low,
            "high": measured.high,
            "attack": measured.attack,
            "members": measured.members,
            "held_out": measured.held_out,
            "generation": built.id,
        }
        assert f"{measured.auc:.3f}" in line.why
        assert "ML-100K" not in str(receipt)
        # the forget made a successor; its reranker and the figure's origin are those of the build
        assert engine.current.generations.current_id() != built.id
        taken = build(engine.settings, reranker=engine.live.reranker)
        assert finding(engine.current.generations, 10**9).detail["generation"] == built.id != taken.id
        again = build(engine.settings)
        assert finding(engine.current.generations, 10**9).detail["generation"] == again.id
        assert finding(engine.current.generations, 0).status is Status.PROVEN
    finally:
        engine.close()


def test_a_reader_that_was_taken_over_keeps_its_figure_and_origin(engine: Engine) -> None:
    found = finding(engine.current.generations, 0)
    assert (found.layer, found.status) == (LayerName.READER, Status.MEASURED)
    assert ", perhaps fitted before" in found.why
    assert found.detail["generation"] == FIGURE.generation
    assert (found.detail["members"], found.detail["held_out"]) == (700, 150)
    forget(engine.officer, CANARY)  # makes a successor of the index
    assert finding(engine.current.generations, 0).detail["generation"] == FIGURE.generation


def test_a_figure_without_an_origin_is_not_taken_over(engine: Engine) -> None:
    build(engine.settings, reranker=fitted_reranker(replace(FIGURE, generation=None)))
    assert finding(engine.current.generations, 0).status is Status.OUT_OF_SCOPE


def test_the_built_in_reader_was_learned_from_nobody(engine: Engine) -> None:
    build(engine.settings)  # too few people to fit one
    for erased in (0, engine.store.epoch(), 10**9):
        found = finding(engine.current.generations, erased)
        assert found.status is Status.PROVEN
    assert "no person" in found.why


def test_a_reader_of_too_few_people_is_out_of_scope_with_the_reason(engine: Engine) -> None:
    build(engine.settings, reranker=fitted_reranker(Membership(230, 0, generation="g")))
    found = finding(engine.current.generations, 0)
    assert found.status is Status.OUT_OF_SCOPE
    assert "too few people" in found.why
    assert (found.detail["members"], found.detail["held_out"]) == (230, 0)


@pytest.mark.parametrize("written", [..., None], ids=["no field", "null"])
def test_an_index_of_an_earlier_version_loads_and_says_that_nothing_was_measured(
    engine: Engine, written: object
) -> None:
    change(engine.current.generations.current(), written)
    found = finding(engine.current.generations, 0)
    assert found.status is Status.OUT_OF_SCOPE
    assert "earlier version" in found.why
    assert "membership_inference_auc" not in found.detail


def test_a_reader_of_a_damaged_or_missing_index(engine: Engine) -> None:
    change(engine.current.generations.current(), {"members": 1, "held_out": 2, "auc": 7})
    assert finding(engine.current.generations, 0).status is Status.OUT_OF_SCOPE
    name = engine.current.generations.current_id()
    (engine.current.generations.root / str(name) / MANIFEST).write_bytes(b"{")
    found = finding(engine.current.generations, 0)
    assert (found.status, found.detail) == (Status.OUT_OF_SCOPE, {})
    assert "damaged" in found.why
    (engine.current.generations.root / "CURRENT").unlink()
    assert finding(engine.current.generations, 10).status is Status.PROVEN


def test_no_figure_of_another_data_set_stands_in_the_product() -> None:
    room = Path(__file__).parents[3] / "rag_rec"
    for path in room.rglob("*.py"):
        text = path.read_text()
        assert "ML-100K" not in text, path
        assert "0.5642" not in text, path
