from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rag_rec.engine import officer as privacy
from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.process import Lost, RemovalProcess
from rag_rec.errors import Busy, WrongKey
from rag_rec.forgetting.request import ForgetOutcome
from rag_rec.index.serving_state import ServingState
from rag_rec.progress.protocol import Progress
from rag_rec.proof.table import Proof, compare
from rag_rec.proof.twin import Twin
from tests.embedders import HashEmbedder
from tests.homes import build, running, settings_for
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, log


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def test_a_proof_of_a_state_that_answers_no_more_is_not_added(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = forget(engine.officer, CANARY).request_id
    receipt, ledger = engine.officer.receipt(request_id), engine.store.ledger()
    compared: list[ServingState] = []

    def switched_meanwhile(live: ServingState, twin: Twin, sample: int | None, seed: int, progress: Progress) -> Proof:
        build(engine.settings, fresh=True)
        assert engine.refresh()
        compared.append(live)
        return compare(live, twin, sample, seed, progress)

    with monkeypatch.context() as patched:
        patched.setattr(privacy, "compare", switched_meanwhile)
        with pytest.raises(Busy, match="try again"):
            engine.officer.prove(request_id)
    assert compared != [engine.live]
    assert (engine.officer.receipt(request_id), engine.store.ledger()) == (receipt, ledger)
    assert engine.officer.prove(request_id)["equal"]
    assert engine.officer.receipt(request_id) != receipt


def test_without_a_generator_there_is_no_adapter_in_memory(engine: Engine) -> None:
    engine.attendance.join()
    (service,) = engine.store.replicas()
    assert service.adapters == ()


class Gone(RemovalProcess):
    """A process that is lost with every request."""

    def __init__(self) -> None:
        """None is started."""

    def forget(self, *_: object) -> ForgetOutcome:
        raise Lost

    def close(self) -> None:
        """There is nothing to end."""


def test_removals_whose_process_was_lost_are_counted_and_finished(tmp_path: Path) -> None:
    home = tmp_path / "home"
    running(home, log()).close()
    with closing(Engine.open(settings_for(home), embedder=HashEmbedder(), removals=Gone())) as engine:
        assert engine.status().removal_process_losses == 0
        for number, user_id in enumerate(("user-1", CANARY), 1):
            assert not forget(engine.officer, user_id).repeated
            assert engine.status().removal_process_losses == number
        assert engine.store.user(CANARY) is None
        (request,) = engine.officer.find(CANARY)
        assert [request] == engine.officer.forget_requests(newest=1)


def test_a_signing_key_that_is_lost_or_replaced_while_it_runs_is_noticed_with_the_next_call(engine: Engine) -> None:
    request_id = forget(engine.officer, CANARY).request_id
    key = engine.settings.keys / "signing.key"
    mine, other = key.read_bytes(), base64.b64encode(bytes(32))
    for asked in (engine.officer.public_key, lambda: engine.officer.hold("user-1", "case 17"), engine.refresh):
        key.unlink()
        with pytest.raises(WrongKey, match="signing key"):
            asked()
        key.touch(0o600)
        key.write_bytes(other)
        with pytest.raises(WrongKey):
            asked()
        key.write_bytes(mine)
    assert engine.officer.holds() == []
    assert engine.officer.receipt(request_id)
    engine.refresh()
