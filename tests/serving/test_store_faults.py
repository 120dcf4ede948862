"""The store of a running service is lost, away or full: it says so, takes nothing, makes nothing, and comes back."""

from __future__ import annotations

import errno
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from anyio.from_thread import start_blocking_portal

from rag_rec.domain import Interaction
from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.process import RemovalProcess
from rag_rec.errors import NoSystem
from rag_rec.settings import Settings
from serving.auth import Keyring, Role
from serving.logs import open_log
from serving.service import Service
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.store.conftest import new_database
from tests.rag_rec.store.server import missing_binaries, started_server
from tests.serving.conftest import KEYS, Api, error_code

if TYPE_CHECKING:
    from tests.serving.fake_engine import FakeEngine

INTERACTIONS = [
    Interaction(f"user-{user}", ITEMS[(3 * user + step) % len(ITEMS)].id, 1_000 * step + user, value=5.0)
    for user in range(8)
    for step in range(5)
]
EVENTS = {"item_id": ITEMS[0].id, "event": "like"}


def begin() -> None:
    """What the process of removals begins with: nothing."""


@contextmanager
def served(settings: Settings, document: dict[str, Any], removals: RemovalProcess | None = None) -> Iterator[Api]:
    fill(settings, INTERACTIONS)
    build(settings)
    engine = Engine.open(settings, embedder=HashEmbedder(), removals=removals)
    keyring = Keyring({key: frozenset({Role(role)}) for role, key in KEYS.items()})
    service = Service(settings, keyring, open_log(log := io.BytesIO()), engine)
    with start_blocking_portal() as portal:
        service.load(lambda: engine)
        yield Api(service, portal, log, document)
    service.close()


def everything_is_refused(api: Api, code: str) -> None:
    """Events, items, removals and recommendations get the one error, and the service is not ready."""
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/readyz", {}),
        ("POST", "/v1/users/user-1/interactions", {"json": EVENTS}),
        ("PUT", "/v1/items/new", {"json": {"text": "new"}}),
        ("DELETE", "/v1/users/user-1?dry_run=true", {}),
        ("DELETE", "/v1/users/user-1", {"params": {"confirm": "user-1", "plan": "0" * 64}}),
        ("POST", "/v1/recommendations", {"json": {"user_id": "user-1"}}),
    ]
    for method, path, options in calls:
        response = api.call(method, path, **options)
        assert (response.status_code, error_code(response)) == (503, code), (method, path, response.text)
        assert int(response.headers["retry-after"]) >= 1
        assert str(api.service.settings.home) not in response.text
    api.service.refresh(api.service.ready_engine)
    api.service.stay(api.service.ready_engine)
    logged = [orjson.loads(line) for line in api.log.getvalue().splitlines()]
    assert [line.get("code") for line in logged if line["event"] == "request"][-len(calls) :] == [code] * len(calls)
    assert [line["code"] for line in logged if line["event"] == "refresh_failed"] == [code]


def is_ready(api: Api) -> bool:
    return api.call("GET", "/readyz").status_code == 200


@pytest.mark.parametrize("apart", [False, True])
def test_a_service_whose_folder_is_removed_takes_nothing_and_makes_nothing(
    tmp_path: Path, document: dict[str, Any], apart: bool
) -> None:
    settings = settings_for(tmp_path / "home")
    removals = RemovalProcess(settings, begin) if apart else None
    with served(settings, document, removals) as api:
        assert is_ready(api)
        settings.home.rename(tmp_path / "away")
        shutil.rmtree(tmp_path / "away")
        everything_is_refused(api, "store_lost")
        assert "removed" in api.call("GET", "/readyz").text or "gone" in api.call("GET", "/readyz").text
        assert not settings.home.exists()
    assert not settings.home.exists()


def test_a_service_does_not_go_on_with_another_store_in_the_place_of_its_own(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    settings, other = settings_for(tmp_path / "home"), settings_for(tmp_path / "other")
    fill(other, [Interaction("somebody-else", ITEMS[0].id, 1)])
    with served(settings, document) as api:
        settings.home.rename(tmp_path / "away")
        other.home.rename(settings.home)
        before = sorted(settings.home.rglob("*"))
        everything_is_refused(api, "store_lost")
        assert [
            path for path in sorted(settings.home.rglob("*")) if not path.name.startswith("store.sqlite3-")
        ] == before
        shutil.rmtree(settings.home)
        (tmp_path / "away").rename(settings.home)  # its own is put back: it goes on
        assert is_ready(api)
        assert api.call("POST", "/v1/users/user-1/interactions", json=EVENTS).status_code == 200
        assert api.forget("user-1").json()["state"] == "complete"


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a file without tables"])
def test_a_service_begins_no_system(tmp_path: Path, there: str) -> None:
    settings = settings_for(tmp_path / "home")
    if there != "nothing":
        settings.home.mkdir()
    if there == "a file without tables":
        (settings.home / "store.sqlite3").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NoSystem):
        Engine.open(settings, embedder=HashEmbedder())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_service_waits_for_a_server_that_stopped(tmp_path: Path, document: dict[str, Any]) -> None:
    if reason := missing_binaries():
        pytest.skip(reason)
    with started_server() as server:
        settings = settings_for(tmp_path / "home", store_url=new_database(server.url))
        with served(settings, document) as api:
            server.stop()
            everything_is_refused(api, "store_away")
            server.start()
            assert is_ready(api)
            assert api.call("POST", "/v1/users/user-1/interactions", json=EVENTS).status_code == 200
            assert api.forget("user-1").json()["state"] == "complete"


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EIO, "store_away"), (errno.EROFS, "store_away")],
)
def test_a_disk_that_is_full_or_broken_is_named_in_the_log(
    api: Api, engine: FakeEngine, number: int, code: str
) -> None:
    engine.failure = OSError(number, "the words of the system", "/data/index/profiles/07")
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    assert (response.status_code, error_code(response), "retry-after" in response.headers) == (503, code, True)
    assert "/data" not in response.text
    logged = [orjson.loads(line) for line in api.log.getvalue().splitlines()]
    failed = next(line for line in logged if line["event"] == "disk_failed")
    assert (failed["code"], failed["place"], failed["reason"]) == (
        code,
        "/data/index/profiles",
        "the words of the system",
    )
