"""Several servers: who is asked, who is left alone, and who is asked instead."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from rag_rec.generators.breaker import Limits
from rag_rec.generators.failures import Reason
from rag_rec.generators.vllm import Manners, VllmBackend
from tests.rag_rec.generators.asking import QUESTION, Open, failure
from tests.rag_rec.generators.fake_server import Behaviour, FakeServer


def test_they_take_turns(opened: Open) -> None:
    with FakeServer() as one, FakeServer() as two:
        backend = opened(one, two)
        for _ in range(6):
            backend.label_log_probabilities([QUESTION], None)
        assert (len(one.asked()), len(two.asked())) == (3, 3)


@pytest.mark.parametrize("behaviour", [Behaviour.ABSENT, Behaviour.OVERLOADED, Behaviour.RESET, Behaviour.NOT_JSON])
def test_another_one_answers(opened: Open, behaviour: Behaviour) -> None:
    with FakeServer(behaviour) as bad, FakeServer() as good:
        backend = opened(bad, good)
        for _ in range(4):
            assert len(backend.label_log_probabilities([QUESTION], None)) == 1
        assert len(good.asked()) == 4


@pytest.mark.parametrize("behaviour", [Behaviour.ERROR, Behaviour.DECLINES, Behaviour.WRONG_MODEL, Behaviour.NAN])
def test_nobody_else_is_asked(opened: Open, behaviour: Behaviour) -> None:
    with FakeServer() as one, FakeServer() as two:
        backend = opened(one, two)
        for _ in range(2):
            backend.label_log_probabilities([QUESTION], None)
        one.behaviour = two.behaviour = behaviour
        failure(backend)
        assert len(one.asked()) + len(two.asked()) == 3


def test_only_one_other_is_asked(opened: Open) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer()) for _ in range(4)]
        backend = opened(*servers)
        for _ in servers:
            backend.label_log_probabilities([QUESTION], None)
        for server in servers:
            server.behaviour = Behaviour.OVERLOADED
        assert failure(backend) is Reason.OVERLOADED
        assert sum(len(server.asked()) for server in servers) == len(servers) + 2


def test_one_that_keeps_failing_is_left_alone_and_comes_back(opened: Open) -> None:
    limits = Limits(in_a_row=3, cool_down=0.0)
    with FakeServer(Behaviour.ERROR) as server:
        patient = opened(server, manners=Manners(breaker=Limits(in_a_row=3, cool_down=1e9)))
        for _ in range(3):
            assert failure(patient) is Reason.REFUSED
        assert failure(patient) is Reason.CIRCUIT_OPEN
        assert patient.status()[0].circuit == "open"
        eager = opened(server, manners=Manners(breaker=limits))
        for _ in range(5):  # the fourth and the fifth are trials
            assert failure(eager) is Reason.REFUSED
        server.behaviour = Behaviour.WELL
        eager.label_log_probabilities([QUESTION], None)
        assert eager.status()[0].circuit == "closed"


def test_a_trial_begins_with_the_health_check(opened: Open) -> None:
    with FakeServer() as server:
        backend = opened(server, manners=Manners(breaker=Limits(in_a_row=1, cool_down=0.0)))
        backend.label_log_probabilities([QUESTION], None)
        server.behaviour = Behaviour.ERROR
        assert failure(backend) is Reason.REFUSED
        asked = len(server.requests)
        server.behaviour = Behaviour.NOT_HTTP
        server.restart()
        assert failure(backend) is Reason.BROKEN
        assert len(server.requests) == asked


def test_a_request_that_had_hardly_any_time_is_not_held_against_the_server(opened: Open) -> None:
    with FakeServer() as server:
        backend = opened(server, manners=Manners(breaker=Limits(in_a_row=1, cool_down=1e9)))
        backend.label_log_probabilities([QUESTION], None)
        server.behaviour = Behaviour.SLOW
        assert failure(backend, 0.01) is Reason.LATE
        server.behaviour = Behaviour.WELL
        assert backend.status()[0].circuit == "closed"


def test_what_was_known_of_a_server_is_asked_again_when_it_comes_back(opened: Open, tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 32)
    with FakeServer() as server:
        backend = opened(server, adapter=folder)
        backend.label_log_probabilities([QUESTION], None)
        server.exact = False
        server.vocabulary = 16
        server.restart()
        assert failure(backend) in {Reason.BROKEN, Reason.WRONG_MODEL}
        [found] = backend.label_log_probabilities([QUESTION], None)
        assert "logprob_token_ids" not in server.asked()[-1]
        assert server.adapters == {f"rag-rec-{folder.name}": str(folder)}
        assert np.isfinite(found[[0, 1, 3]]).all()


def test_status(opened: Open) -> None:
    with FakeServer(model="llm") as good, FakeServer(exact=False, swaps=False) as old, ExitStack() as stack:
        backend = opened(good, old, stack.enter_context(FakeServer(Behaviour.ABSENT)))
        assert backend.model == "unknown"
        first, second, third = backend.status()
    assert (first.url, first.model, first.longest, first.problem) == (good.url, "llm", 512, None)
    assert (first.exact_labels, first.swaps_adapters, first.circuit) == (True, True, "closed")
    assert (second.exact_labels, second.most_labels, second.swaps_adapters) == (False, 20, False)
    assert third.problem is not None
    assert third.model is None


def test_the_same_address_is_one_server() -> None:
    with FakeServer() as server:
        backend = VllmBackend([server.url, server.url + "/", server.url + "/v1"])
        assert len(backend.status()) == 1
        backend.close()
