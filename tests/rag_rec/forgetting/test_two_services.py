"""Two services on one store: neither starves the other, and one that was stopped sends nothing it may not know."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rag_rec.domain import Interaction
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, DAY, log
from tests.rag_rec.forgetting.service import Caller, Running, started
from tests.rag_rec.store.conftest import new_database

PEOPLE = [f"leaver-{n}" for n in range(50)]
EXPIRY = 3.0


def rows() -> list[Interaction]:
    leavers = [
        Interaction(name, ITEMS[(at + n) % 12].id, n * DAY, "like") for at, name in enumerate(PEOPLE) for n in (0, 1)
    ]
    return [*log(), *leavers]


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    server = request.param == "postgresql" and request.getfixturevalue("postgres_server")
    url = new_database(server) if server else f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    made = settings_for(tmp_path / "home", store_url=url)
    fill(made, rows())
    build(made)
    open_signer(made), open_pseudonyms(made)
    return made


Serve = Callable[..., tuple[Running, Caller]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts services and waits until they can answer."""
    with ExitStack() as stack:

        def begin(settings: Settings, **options: float) -> tuple[Running, Caller]:
            service = stack.enter_context(started(settings, **options))
            caller = Caller(service)
            stack.callback(caller.client.close)
            return service, caller

        yield begin


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_fifty_removals_in_a_row_beside_another_service_are_all_complete(settings: Settings, serve: Serve) -> None:
    callers = serve(settings)[1], serve(settings)[1]
    assert [callers[0].forget(name) for name in PEOPLE] == ["complete"] * len(PEOPLE)
    assert [each.recommend(PEOPLE[0]).json()["provenance"]["known_user"] for each in callers] == [False, False]


def test_removals_through_both_services_in_turn_are_all_complete(settings: Settings, serve: Serve) -> None:
    callers = serve(settings)[1], serve(settings)[1]
    assert [callers[at % 2].forget(name) for at, name in enumerate(PEOPLE[:10])] == ["complete"] * 10


def test_a_command_beside_a_running_service_is_complete(settings: Settings, serve: Serve) -> None:
    serve(settings)
    assert [forget_in(settings, name).state for name in PEOPLE[:10]] == ["complete"] * 10


def test_two_services_with_folders_of_their_own_are_both_clean_when_a_removal_is_complete(
    settings: Settings, tmp_path: Path, serve: Serve
) -> None:
    second = settings.model_copy(update={"home": tmp_path / "second"})
    shutil.copytree(settings.keys, second.keys)
    build(second)
    callers = serve(settings)[1], serve(second)[1]
    assert [callers[at % 2].forget(name) for at, name in enumerate(PEOPLE[:10])] == ["complete"] * 10
    with closing(store_of(settings)) as store:
        assert len(store.places()) == 2


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_service_that_was_stopped_sends_nothing_that_it_knew_of_somebody_forgotten_meanwhile(
    settings: Settings, pool: ThreadPoolExecutor, serve: Serve
) -> None:
    one, officer = serve(settings, expiry=EXPIRY)
    other, caller = serve(settings, expiry=EXPIRY, linger=1.0)
    before = ids_of(settings)
    answering = pool.submit(caller.recommend, CANARY)
    assert other.lines.readline().strip() == "computed"  # it knows the person, and nothing has left
    other.process.send_signal(signal.SIGSTOP)
    try:
        officer.forget(CANARY)
        while not complete(settings):  # until the one that is silent counts as dead
            assert one.process.poll() is None
    finally:
        other.process.send_signal(signal.SIGCONT)
    answer = answering.result(60)
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"]
    while (again := caller.recommend(CANARY)).status_code == 503:
        pass
    assert again.json()["provenance"]["known_user"] is False
    while len(ids_of(settings)) < 2:  # it joins again, as another one
        assert other.process.poll() is None
    assert len(ids_of(settings) - before) == 1


def ids_of(settings: Settings) -> set[str]:
    with closing(store_of(settings)) as store:
        return {replica.id for replica in store.replicas()}


def complete(settings: Settings) -> bool:
    with closing(store_of(settings)) as store:
        return not store.forget_records(pending=True)
