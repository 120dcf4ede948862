from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec import privacy
from rag_rec.engine import Engine
from rag_rec.errors import Busy
from rag_rec.forgetting.proof.table import Proof, compare
from rag_rec.forgetting.proof.twin import Twin
from rag_rec.live import Live
from tests.forgetting.asking import forget
from tests.forgetting.homes import CANARY, log
from tests.homes import build, running


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def test_a_proof_of_a_state_that_answers_no_more_is_not_added(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = forget(engine, CANARY).request_id
    receipt, ledger = engine.receipt(request_id), engine.store.ledger()
    compared: list[Live] = []

    def switched_meanwhile(live: Live, twin: Twin, sample: int | None, seed: int) -> Proof:
        build(engine.settings, fresh=True)
        assert engine.refresh()
        compared.append(live)
        return compare(live, twin, sample, seed)

    with monkeypatch.context() as patched:
        patched.setattr(privacy, "compare", switched_meanwhile)
        with pytest.raises(Busy, match="try again"):
            engine.prove(request_id)
    assert compared != [engine.live]
    assert (engine.receipt(request_id), engine.store.ledger()) == (receipt, ledger)
    assert engine.prove(request_id)["equal"]
    assert engine.receipt(request_id) != receipt


def test_without_a_generator_there_is_no_adapter_in_memory(engine: Engine) -> None:
    engine.join()
    (service,) = engine.store.replicas()
    assert service.adapters == ()
