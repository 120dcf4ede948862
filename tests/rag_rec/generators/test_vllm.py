"""The client of vLLM against a server that misbehaves on command."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from structlog.testing import capture_logs

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.health import read_labels
from rag_rec.generators.protocol import Encoded
from rag_rec.generators.vllm import Manners
from tests.rag_rec.generators.asking import LONG, QUESTION, Open, expected, failure, position_score
from tests.rag_rec.generators.fake_server import Behaviour, FakeServer


class TestAnswers:
    def test_the_values_are_by_candidate(self, opened: Open) -> None:
        with FakeServer(score=position_score) as server:
            [found] = opened(server).label_log_probabilities([QUESTION], None)
        assert np.array_equal(found, expected(QUESTION), equal_nan=True)

    def test_the_request(self, opened: Open) -> None:
        with FakeServer(model="llm") as server:
            opened(server).label_log_probabilities([Encoded((1, 2), (9, 4), "epoch/7")], None)
        [body] = server.asked()
        salt = body.pop("cache_salt")
        assert salt.isalnum()  # vLLM does not accept the slash
        assert body == {
            "model": "llm",
            "prompt": [[1, 2]],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 2,
            "logprob_token_ids": [4, 9],
            "return_tokens_as_token_ids": True,
        }

    def test_questions_share_a_request_only_with_the_same_labels_and_salt(self, opened: Open) -> None:
        questions = [
            Encoded((1,), (5, 6), "s"),
            Encoded((2,), (6, 5), "s"),
            Encoded((3,), (5, 6), "other"),
            Encoded((4,), (5, 8), "s"),
            Encoded((5,), (None, None), "s"),
            Encoded((6,), (6, None, 5), "s"),
        ]
        with FakeServer(score=position_score) as server:
            found = opened(server, manners=Manners(prompts=2)).label_log_probabilities(questions, None)
        for each, question in zip(found, questions, strict=True):
            assert np.array_equal(each, expected(question), equal_nan=True)
        assert sorted(body["prompt"] for body in server.asked()) == [[[1], [2]], [[3]], [[4]], [[6]]]
        assert len({body["cache_salt"] for body in server.asked()}) == 2

    def test_threads_ask_at_once(self, opened: Open) -> None:
        questions = [Encoded((number, number + 1), (3, 5)) for number in range(24)]
        with FakeServer(score=position_score) as server:
            backend = opened(server, manners=Manners(requests=3))

            with ThreadPoolExecutor(6) as threads:
                found = list(threads.map(lambda each: backend.label_log_probabilities([each], None), questions))
        for question, [each] in zip(questions, found, strict=True):
            assert np.array_equal(each, expected(question))

    def test_too_many_labels_are_refused_before_anybody_is_asked(self, opened: Open) -> None:
        with FakeServer() as server:
            assert failure(opened(server), question=Encoded((1,), tuple(range(129)))) is Reason.REFUSED
        assert server.requests == []

    def test_an_older_server_gives_the_likeliest_tokens(self, opened: Open) -> None:
        """Without ``logprob_token_ids``; the labels that are not among them are missing."""
        with FakeServer(exact=False, most=20, vocabulary=64) as server:
            backend = opened(server)
            [likely] = backend.label_log_probabilities([Encoded((1,), (50, 63))], None)
            [mixed] = backend.label_log_probabilities([Encoded((1,), (3, 63))], None)
        assert np.isfinite(likely).all()
        assert np.isnan(mixed).tolist() == [True, False]
        last = server.asked()[-1]
        assert (last["logprobs"], last["allowed_token_ids"]) == (20, [3, 63])
        assert "logprob_token_ids" not in last


FAILURES = {
    Behaviour.ABSENT: Reason.ABSENT,
    Behaviour.NOT_HTTP: Reason.BROKEN,
    Behaviour.ERROR: Reason.REFUSED,
    Behaviour.DECLINES: Reason.REFUSED,
    Behaviour.OVERLOADED: Reason.OVERLOADED,
    Behaviour.TOO_MANY: Reason.OVERLOADED,
    Behaviour.RESET: Reason.BROKEN,
    Behaviour.TRUNCATED: Reason.BROKEN,
    Behaviour.NOT_JSON: Reason.BROKEN,
    Behaviour.OTHER_JSON: Reason.BROKEN,
    Behaviour.FEWER_ANSWERS: Reason.BROKEN,
    Behaviour.NAN: Reason.NOT_A_NUMBER,
    Behaviour.NULL: Reason.NOT_A_NUMBER,
    Behaviour.WRONG_MODEL: Reason.WRONG_MODEL,
}


class TestFailures:
    @pytest.mark.parametrize(("behaviour", "reason"), FAILURES.items(), ids=str)
    def test_when_the_server_is_known(self, opened: Open, behaviour: Behaviour, reason: Reason) -> None:
        with FakeServer() as server:
            backend = opened(server)
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = behaviour
            if behaviour is Behaviour.ABSENT:
                server.stop()
            if behaviour is Behaviour.NOT_HTTP:
                server.restart()
            assert failure(backend) is reason

    @pytest.mark.parametrize(("behaviour", "reason"), FAILURES.items(), ids=str)
    def test_when_it_is_met_for_the_first_time(self, opened: Open, behaviour: Behaviour, reason: Reason) -> None:
        with FakeServer(behaviour) as server:
            assert failure(opened(server)) is reason

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            (Behaviour.LOW_MASS, Reason.LOW_LABEL_MASS),
            (Behaviour.MISSING, Reason.MISSING_LABELS),
            (Behaviour.INFINITE, Reason.NOT_A_NUMBER),
        ],
    )
    def test_what_only_the_values_show(self, opened: Open, behaviour: Behaviour, reason: Reason) -> None:
        with FakeServer() as server:
            backend = opened(server)
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = behaviour
            [found] = backend.label_log_probabilities([QUESTION], None)
        with pytest.raises(GeneratorFailure) as raised:
            read_labels(QUESTION, found, np.log(np.full(4, 0.25)), 0.5)
        assert raised.value.reason is reason

    def test_a_server_whose_queue_was_full_is_not_absent(self, opened: Open) -> None:
        """The first packet of the connection is dropped; it is sent again after a second, and answered."""
        server = FakeServer(score=position_score)
        begin = threading.Timer(0.3, server.__enter__)
        with ExitStack() as stack:
            stack.callback(server.stop)
            stack.enter_context(server.full())
            begin.start()
            stack.callback(begin.join)
            [found] = opened(server).label_log_probabilities([QUESTION], None)
        assert np.array_equal(found, expected(QUESTION), equal_nan=True)

    @pytest.mark.parametrize("behaviour", [Behaviour.SLOW, Behaviour.HUNG])
    def test_late(self, opened: Open, behaviour: Behaviour) -> None:
        with FakeServer() as server:
            backend = opened(server)
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = behaviour
            assert failure(backend, 0.2) is Reason.LATE
        with FakeServer(behaviour) as server:
            assert failure(opened(server), 0.2) is Reason.LATE

    def test_a_slow_first_meeting_is_not_begun_anew_by_every_request(self, opened: Open) -> None:
        with FakeServer(Behaviour.SLOW) as server:
            backend = opened(server)
            for _ in range(3):
                assert failure(backend, 0.05) is Reason.LATE
            server.behaviour = Behaviour.WELL
            server.release.set()
            backend.label_log_probabilities([QUESTION], None)
        assert [path for path, body in server.requests if body.get("prompt") == [[0]]] == ["/v1/completions"]

    def test_waiting_for_a_place_counts(self, opened: Open) -> None:
        with FakeServer() as server:
            backend = opened(server, manners=Manners(requests=1))
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = Behaviour.SLOW
            with ThreadPoolExecutor(1) as threads:
                first = threads.submit(backend.label_log_probabilities, [QUESTION], None)
                assert server.arrived.acquire(timeout=LONG)
                assert failure(backend, 0.1) is Reason.LATE
                server.release.set()
                assert len(first.result()) == 1

    def test_no_time_at_all_is_late_and_nobody_is_asked(self, opened: Open) -> None:
        with FakeServer() as server:
            assert failure(opened(server), -1.0) is Reason.LATE
        assert server.requests == []

    def test_the_model_that_was_asked_for_is_not_served(self, opened: Open) -> None:
        with FakeServer(model="one") as server:
            assert failure(opened(server, model="other")) is Reason.WRONG_MODEL

    def test_messages_do_not_repeat_what_the_server_says(self, opened: Open) -> None:
        with FakeServer(Behaviour.DECLINES) as server, pytest.raises(GeneratorFailure) as raised:
            opened(server).label_log_probabilities([QUESTION], None)
        assert server.url in str(raised.value)

    def test_closing_gives_up_what_is_under_way(self, opened: Open) -> None:
        with FakeServer() as server, ThreadPoolExecutor(1) as threads:
            backend = opened(server)
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = Behaviour.SLOW
            waiting = threads.submit(backend.label_log_probabilities, [QUESTION], None)
            assert server.arrived.acquire(timeout=LONG)
            backend.close()
            assert isinstance(waiting.exception(timeout=LONG), GeneratorFailure)
            backend.close()
            assert failure(backend) is Reason.ABSENT


def test_another_base_under_the_same_name_is_refused(opened: Open) -> None:
    """The same tokens would mean other items."""
    with FakeServer() as server:
        server.root = f"/home/compact/bases/{'a' * 32}"
        assert failure(opened(server, base="b" * 32)) is Reason.WRONG_MODEL
        backend = opened(server, base="a" * 32)
        assert len(backend.label_log_probabilities([QUESTION], None)) == 1
        server.root = "/models/elsewhere"  # says nothing of a digest
        assert len(opened(server, base="b" * 32).label_log_probabilities([QUESTION], None)) == 1


@pytest.mark.parametrize(("version", "old"), [("0.28.1", True), ("v0.9.2+cpu", True), ("0.29.0rc1", False)])
def test_a_server_whose_version_lacks_something_is_used_and_says_what(opened: Open, version: str, old: bool) -> None:
    with FakeServer() as server:
        server.version = version
        with capture_logs() as logs:
            backend = opened(server)
            backend.label_log_probabilities([QUESTION])
        [status] = backend.status()
    assert status.problem is None
    assert (status.outdated is not None and "--max-num-queued-reqs" in status.outdated) == old
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["vllm_outdated"] * old


@pytest.mark.parametrize("version", [None, "unknown", ""])
def test_a_server_that_does_not_say_its_version_is_believed_to_be_new(opened: Open, version: str | None) -> None:
    with FakeServer() as server:
        server.version = version
        [status] = opened(server).status()
    assert (status.problem, status.outdated) == (None, None)
