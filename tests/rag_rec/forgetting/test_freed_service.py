"""A service forgets a person and is restarted: the receipt says when its freed memory is gone."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from rag_rec.forgetting.receipts.document import findings_in
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from tests.homes import build, fill, settings_for
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.service import Caller, started

PATIENCE_SECONDS = 60.0


def freed(settings: Settings) -> Status:
    with closing(store_of(settings)) as store:
        (record,) = store.forget_records()
    assert record.state is ForgetState.COMPLETE and record.receipt is not None
    return next(each.status for each in findings_in(record.receipt) if each.layer is LayerName.FREED)


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_service_that_was_restarted_proves_that_freed_memory_is_gone(tmp_path: Path, how: signal.Signals) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    build(settings)
    with started(settings) as first:
        caller = Caller(first)
        with closing(caller.client):
            assert caller.forget(CANARY) == "complete"
        assert freed(settings) is Status.PENDING
        first.process.send_signal(how)
        first.process.wait(PATIENCE_SECONDS)
    assert freed(settings) is Status.PENDING  # it was not looked at again yet
    with started(settings) as second, closing(Caller(second).client):
        until = time.monotonic() + PATIENCE_SECONDS
        while freed(settings) is not Status.PROVEN:
            assert time.monotonic() < until
