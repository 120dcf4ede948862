"""The client of vLLM against a server that misbehaves on command."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from rag_rec.generators.breaker import Limits
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.health import read_labels
from rag_rec.generators.protocol import Encoded, Floats
from rag_rec.generators.vllm import Manners, VllmBackend
from rag_rec.generators.vllm_adapters import AdapterNotLoaded
from tests.generators.fake_server import Behaviour, FakeServer

LONG = 30.0  # seconds; only a test that fails waits so long
QUESTION = Encoded((1, 2, 3), (9, 4, None, 7))
Open = Callable[..., VllmBackend]


def position_score(prompt: Sequence[int], label: int) -> float:
    """Tells prompts, their order and labels apart."""
    return -1.0 - sum((place + 1) * token for place, token in enumerate(prompt)) / 100 - label / 10_000


def expected(question: Encoded) -> Floats:
    scores = [math.nan if label is None else position_score(question.tokens, label) for label in question.labels]
    return np.array(scores)


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def open_backend(*servers: FakeServer, **arguments: object) -> VllmBackend:
            backend = VllmBackend([server.url for server in servers], **arguments)  # type: ignore[arg-type]
            stack.callback(backend.close)
            return backend

        yield open_backend


def failure(backend: VllmBackend, seconds: float = LONG, question: Encoded = QUESTION) -> Reason:
    """The reason of the failure, which has to come before the deadline."""
    deadline = time.monotonic() + seconds
    with pytest.raises(GeneratorFailure) as raised:
        backend.label_log_probabilities([question], deadline)
    assert time.monotonic() < deadline + 5.0  # generous: the machine may be busy
    return raised.value.reason


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

    def test_threads_and_coroutines_ask_at_once(self, opened: Open) -> None:
        questions = [Encoded((number, number + 1), (3, 5)) for number in range(24)]
        with FakeServer(score=position_score) as server:
            backend = opened(server, manners=Manners(requests=3))

            async def all_at_once() -> list[list[Floats]]:
                return await asyncio.gather(*(backend.alabel_log_probabilities([each]) for each in questions))

            with ThreadPoolExecutor(6) as threads:
                by_threads = list(threads.map(lambda each: backend.label_log_probabilities([each], None), questions))
            by_coroutines = asyncio.run(all_at_once())
        for question, [one], [other] in zip(questions, by_threads, by_coroutines, strict=True):
            assert np.array_equal(one, expected(question))
            assert np.array_equal(other, expected(question))

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

    def test_a_coroutine_that_is_cancelled_gives_up_its_request(self, opened: Open) -> None:
        async def give_up() -> None:
            task = asyncio.create_task(backend.alabel_log_probabilities([QUESTION]))
            await asyncio.to_thread(server.arrived.acquire, timeout=LONG)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        with FakeServer() as server:
            backend = opened(server, manners=Manners(requests=1, breaker=Limits(in_a_row=1)))
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = Behaviour.SLOW
            asyncio.run(give_up())
            server.behaviour = Behaviour.WELL
            assert len(backend.label_log_probabilities([QUESTION], time.monotonic() + LONG)) == 1

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
            with pytest.raises(GeneratorFailure):
                asyncio.run(backend.alabel_log_probabilities([QUESTION]))


class TestReplicas:
    def test_they_take_turns(self, opened: Open) -> None:
        with FakeServer() as one, FakeServer() as two:
            backend = opened(one, two)
            for _ in range(6):
                backend.label_log_probabilities([QUESTION], None)
            assert (len(one.asked()), len(two.asked())) == (3, 3)

    @pytest.mark.parametrize("behaviour", [Behaviour.ABSENT, Behaviour.OVERLOADED, Behaviour.RESET, Behaviour.NOT_JSON])
    def test_another_one_answers(self, opened: Open, behaviour: Behaviour) -> None:
        with FakeServer(behaviour) as bad, FakeServer() as good:
            backend = opened(bad, good)
            for _ in range(4):
                assert len(backend.label_log_probabilities([QUESTION], None)) == 1
            assert len(good.asked()) == 4

    @pytest.mark.parametrize("behaviour", [Behaviour.ERROR, Behaviour.DECLINES, Behaviour.WRONG_MODEL, Behaviour.NAN])
    def test_nobody_else_is_asked(self, opened: Open, behaviour: Behaviour) -> None:
        with FakeServer() as one, FakeServer() as two:
            backend = opened(one, two)
            for _ in range(2):
                backend.label_log_probabilities([QUESTION], None)
            one.behaviour = two.behaviour = behaviour
            failure(backend)
            assert len(one.asked()) + len(two.asked()) == 3

    def test_only_one_other_is_asked(self, opened: Open) -> None:
        with ExitStack() as stack:
            servers = [stack.enter_context(FakeServer()) for _ in range(4)]
            backend = opened(*servers)
            for _ in servers:
                backend.label_log_probabilities([QUESTION], None)
            for server in servers:
                server.behaviour = Behaviour.OVERLOADED
            assert failure(backend) is Reason.OVERLOADED
            assert sum(len(server.asked()) for server in servers) == len(servers) + 2

    def test_one_that_keeps_failing_is_left_alone_and_comes_back(self, opened: Open) -> None:
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

    def test_a_trial_begins_with_the_health_check(self, opened: Open) -> None:
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

    def test_a_request_that_had_hardly_any_time_is_not_held_against_the_server(self, opened: Open) -> None:
        with FakeServer() as server:
            backend = opened(server, manners=Manners(breaker=Limits(in_a_row=1, cool_down=1e9)))
            backend.label_log_probabilities([QUESTION], None)
            server.behaviour = Behaviour.SLOW
            assert failure(backend, 0.01) is Reason.LATE
            server.behaviour = Behaviour.WELL
            assert backend.status()[0].circuit == "closed"

    def test_what_was_known_of_a_server_is_asked_again_when_it_comes_back(self, opened: Open, tmp_path: Path) -> None:
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

    def test_status(self, opened: Open) -> None:
        with FakeServer(model="llm") as good, FakeServer(exact=False, swaps=False) as old, ExitStack() as stack:
            backend = opened(good, old, stack.enter_context(FakeServer(Behaviour.ABSENT)))
            assert backend.model == "unknown"
            first, second, third = backend.status()
        assert (first.url, first.model, first.longest, first.problem) == (good.url, "llm", 512, None)
        assert (first.exact_labels, first.swaps_adapters, first.circuit) == (True, True, "closed")
        assert (second.exact_labels, second.most_labels, second.swaps_adapters) == (False, 20, False)
        assert third.problem is not None
        assert third.model is None

    def test_ok_if_any_answers(self, opened: Open) -> None:
        with FakeServer() as good, FakeServer(Behaviour.ABSENT) as bad:
            assert opened(good, bad).ok()
            assert not opened(bad).ok()

    def test_the_same_address_is_one_server(self) -> None:
        with FakeServer() as server:
            backend = VllmBackend([server.url, server.url + "/", server.url + "/v1"])
            assert len(backend.status()) == 1
            backend.close()


class TestAdapters:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        return tmp_path / ("a" * 32), tmp_path / ("b" * 32)

    def test_a_swap_loads_everywhere_switches_and_unloads(self, opened: Open, folders: tuple[Path, Path]) -> None:
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

    def test_one_that_is_loaded_already_is_fine(self, opened: Open, folders: tuple[Path, Path]) -> None:
        first, _ = folders
        with FakeServer() as one, FakeServer() as two:
            two.adapters[f"rag-rec-{first.name}"] = str(first)
            opened(one, two).use_adapter(first)
            assert one.adapters == two.adapters

    def test_a_load_that_fails_anywhere_changes_nothing(self, opened: Open, folders: tuple[Path, Path]) -> None:
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
        self, opened: Open, folders: tuple[Path, Path]
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

    def test_a_server_that_cannot_swap_says_so(self, opened: Open, folders: tuple[Path, Path]) -> None:
        with FakeServer(swaps=False) as server, pytest.raises(AdapterNotLoaded, match="RUNTIME_LORA"):
            opened(server).use_adapter(folders[0])

    def test_requests_under_way_end_with_the_old_one(self, opened: Open, folders: tuple[Path, Path]) -> None:
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
        self, opened: Open, folders: tuple[Path, Path]
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


def test_another_base_under_the_same_name_is_refused(opened: Open) -> None:
    """The same tokens would mean other items."""
    with FakeServer() as server:
        server.root = f"/home/compact/bases/{'a' * 32}"
        assert failure(opened(server, base="b" * 32)) is Reason.WRONG_MODEL
        backend = opened(server, base="a" * 32)
        assert len(backend.label_log_probabilities([QUESTION], None)) == 1
        server.root = "/models/elsewhere"  # says nothing of a digest
        assert len(opened(server, base="b" * 32).label_log_probabilities([QUESTION], None)) == 1
