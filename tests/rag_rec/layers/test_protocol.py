"""A layer that the product does not know goes through the dry run, the removal and the receipt without a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rag_rec.engine.engine import Engine
from rag_rec.errors import PlanChanged
from rag_rec.forgetting.receipts.document import check_receipt, findings_in
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.identity.signing import Verifier
from rag_rec.layers.finding import Finding, Status
from rag_rec.layers.protocol import LaterLayer, Layer, Preview, QuietLayer, found
from rag_rec.layers.records import ForgetState, Group, Target, deadline_of
from tests.homes import running
from tests.rag_rec.forgetting.asking import confirmed, forget
from tests.rag_rec.forgetting.homes import CANARY, log, number_of


class NotesLayer(QuietLayer):
    """Notes about people, each in a file named by the person's number."""

    name = "notes"

    def __init__(self, folder: Path, state: ForgetState = ForgetState.ERASED) -> None:
        self.state = state
        self.works = True
        self.told: list[str] = []
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, number: int) -> None:
        (self._folder / str(number)).write_text("likes it quiet")

    def empty(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()

    def preview(self, targets: Sequence[Target]) -> Preview:
        return {"notes": sum((self._folder / str(target.number)).exists() for target in targets)}

    @contextmanager
    def prepare(self, targets: Sequence[Target]) -> Iterator[None]:
        self.told.append(f"prepared for {len(targets)}")
        try:
            yield
        except BaseException:
            self.told.append("not accepted")
            raise

    def remove(self, group: Group) -> None:
        for record in group if self.works else ():
            (self._folder / str(record.user_number)).unlink(missing_ok=True)

    def look(self, group: Group) -> Sequence[Finding]:
        left = len(list(self._folder.iterdir()))
        return [found(self.name, not left, "No note is left.", "A note is left.", deadline_of(group))] * len(group)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


@pytest.fixture
def notes(engine: Engine, tmp_path: Path) -> NotesLayer:
    notes = NotesLayer(tmp_path / "notes")
    notes.write(number_of(engine.store, CANARY))
    return notes


def saga_with(engine: Engine, layer: Layer) -> Saga:
    system = engine.officer.system()
    return Saga(replace(system, layers=[*system.layers, layer]))


def said(engine: Engine, request_id: str) -> dict[str, Status]:
    return {each.layer: each.status for each in findings_in(engine.officer.receipt(request_id))}


def test_every_layer_of_a_system_keeps_to_the_protocol(engine: Engine) -> None:
    layers = engine.officer.system().layers
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert all((layer.state is None) == isinstance(layer, LaterLayer) for layer in layers)


def test_the_dry_run_tells_of_it(engine: Engine, notes: NotesLayer) -> None:
    plan = saga_with(engine, notes).plan(ForgetRequest.of(CANARY))
    assert plan.beyond == {"notes": 1}
    assert asdict(engine.officer.plan(ForgetRequest.of(CANARY)))["beyond"] == {}


def test_the_removal_reaches_it_and_the_receipt_says_so(engine: Engine, notes: NotesLayer) -> None:
    outcome = forget(saga_with(engine, notes), CANARY)
    assert (outcome.state, said(engine, outcome.request_id)["notes"]) == ("complete", Status.PROVEN)
    assert notes.told == ["prepared for 1"]
    assert "notes" in outcome.timings_ms
    verdict = check_receipt(engine.officer.receipt(outcome.request_id), Verifier.from_pem(engine.officer.public_key()))
    assert (verdict.valid, verdict.complete, verdict.open) == (True, True, ())


def test_it_hears_that_a_request_was_not_accepted(
    engine: Engine, notes: NotesLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga = saga_with(engine, notes)
    request = confirmed(saga, ForgetRequest.of(CANARY))
    with pytest.raises(PlanChanged):
        saga.forget(replace(request, plan="another"))
    assert notes.told == []
    monkeypatch.setattr(type(engine.store), "accept", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saga.forget(request)
    assert notes.told == ["prepared for 1", "not accepted"]


@pytest.mark.parametrize(
    ("state", "reached"),
    [
        (ForgetState.ERASED, "hidden"),
        (ForgetState.EFFECTIVE, "erased"),
        (ForgetState.UNLEARNED, "effective"),
        (ForgetState.COMPLETE, "unlearned"),
    ],
)
def test_what_is_left_in_it_holds_a_request_back_from_its_state(
    engine: Engine, notes: NotesLayer, state: ForgetState, reached: str
) -> None:
    notes.state, notes.works = state, False
    saga = saga_with(engine, notes)
    outcome = forget(saga, CANARY)
    assert (outcome.state, said(engine, outcome.request_id)["notes"]) == (reached, Status.PENDING)
    verdict = check_receipt(engine.officer.receipt(outcome.request_id), Verifier.from_pem(engine.officer.public_key()))
    assert (verdict.valid, verdict.complete, verdict.open) == (True, False, ("notes",))
    assert saga.resume() == 0
    notes.works = True
    if saga.record(outcome.request_id).user_number is None:  # then it is only looked at: it has to go by itself
        notes.empty()
    assert saga.resume() == 1
    assert said(engine, outcome.request_id)["notes"] == Status.PROVEN
