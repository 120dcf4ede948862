"""Adapters on vLLM servers: load, switch, drain, unload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rag_rec.generators.failures import Reason
from rag_rec.generators.vllm_adapters import AdapterNotLoaded
from tests.rag_rec.generators.asking import LONG, QUESTION, Open, failure
from tests.rag_rec.generators.fake_server import Behaviour, FakeServer


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / ("a" * 32), tmp_path / ("b" * 32)


def test_a_swap_loads_everywhere_switches_and_unloads(opened: Open, folders: tuple[Path, Path]) -> None:
    first, second = folders
    with FakeServer() as one, FakeServer() as two:
        backend = opened(one, two, model="fake")
        for folder in (first, second, second, first, None):
            backend.use_adapter(folder)
            assert backend.adapter == (folder.name if folder else None)
            wanted = {f"rag-rec-{folder.name}": str(folder)} if folder else {}
            assert (one.adapters, two.adapters) == (wanted, wanted)
            backend.label_log_probabilities([QUESTION], None)
        names = [body["model"] for server in (one, two) for body in server.asked()]
    assert sorted(names) == sorted([f"rag-rec-{first.name}"] * 2 + [f"rag-rec-{second.name}"] * 2 + ["fake"])
    assert not any(body.get("load_inplace") for server in (one, two) for _, body in server.requests)


def test_one_that_is_loaded_already_is_fine(opened: Open, folders: tuple[Path, Path]) -> None:
    first, _ = folders
    with FakeServer() as one, FakeServer() as two:
        two.adapters[f"rag-rec-{first.name}"] = str(first)
        opened(one, two).use_adapter(first)
        assert one.adapters == two.adapters


def test_a_load_that_fails_anywhere_changes_nothing(opened: Open, folders: tuple[Path, Path]) -> None:
    first, second = folders
    with FakeServer() as one, FakeServer() as two:
        backend = opened(one, two)
        backend.use_adapter(first)
        two.broken_adapters.add(str(second))
        with pytest.raises(AdapterNotLoaded, match="--enable-lora") as raised:
            backend.use_adapter(second)
        assert raised.value.reason is Reason.WRONG_MODEL
        assert backend.adapter == first.name
        assert one.adapters == two.adapters == {f"rag-rec-{first.name}": str(first)}
        one.stop()
        two.stop()
        with pytest.raises(AdapterNotLoaded) as raised:
            backend.use_adapter(second)
        assert raised.value.reason is Reason.ABSENT
        assert backend.adapter == first.name


def test_a_server_that_is_away_holds_up_no_swap_and_gets_the_adapter_later(
    opened: Open, folders: tuple[Path, Path]
) -> None:
    first, second = folders
    with FakeServer() as one, FakeServer() as two:
        backend = opened(one, two)
        backend.use_adapter(first)
        for _ in range(2):
            backend.label_log_probabilities([QUESTION], None)
        two.behaviour = Behaviour.NOT_HTTP
        two.restart()
        backend.use_adapter(second)
        assert backend.adapter == second.name
        assert one.adapters == {f"rag-rec-{second.name}": str(second)}
        two.behaviour = Behaviour.WELL
        for _ in range(4):
            backend.label_log_probabilities([QUESTION], None)
        assert two.adapters == {f"rag-rec-{second.name}": str(second)}
        assert len([path for path, _ in two.requests if path == "/v1/load_lora_adapter"]) == 2


def test_a_server_that_cannot_swap_says_so(opened: Open, folders: tuple[Path, Path]) -> None:
    with FakeServer(swaps=False) as server, pytest.raises(AdapterNotLoaded, match="RUNTIME_LORA"):
        opened(server).use_adapter(folders[0])


def test_requests_under_way_end_with_the_old_one(opened: Open, folders: tuple[Path, Path]) -> None:
    first, second = folders
    old = f"rag-rec-{first.name}"
    with FakeServer() as server, ThreadPoolExecutor(2) as threads:
        backend = opened(server)
        backend.use_adapter(first)
        backend.label_log_probabilities([QUESTION], None)
        server.behaviour = Behaviour.SLOW
        under_way = threads.submit(backend.label_log_probabilities, [QUESTION], None)
        assert server.arrived.acquire(timeout=LONG)
        server.behaviour = Behaviour.WELL
        swap = threads.submit(backend.use_adapter, second)
        wait_until(lambda: backend.adapter == second.name)
        backend.label_log_probabilities([QUESTION], None)
        assert server.asked()[-1]["model"] == f"rag-rec-{second.name}"
        assert old in server.adapters
        assert not swap.done()
        server.release.set()
        swap.result(timeout=LONG)
        under_way.result(timeout=LONG)
        assert old not in server.adapters


def test_an_adapter_that_a_new_server_does_not_load_is_the_wrong_model(
    opened: Open, folders: tuple[Path, Path]
) -> None:
    with FakeServer() as server:
        server.broken_adapters.add(str(folders[0]))
        assert failure(opened(server, adapter=folders[0])) is Reason.WRONG_MODEL


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LONG
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < limit
        pause.wait(0.005)
