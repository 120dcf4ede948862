"""No caller of any role sees a path or a server of the service, whatever went wrong."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

import rag_rec.errors
import serving.errors
from rag_rec.errors import CorruptIndex, RagRecError, WrongKey
from rag_rec.settings import Settings
from serving.disclosure import HIDDEN, Disclosure
from tests.serving.conftest import KEYS, error_code

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


KINDS = sorted(
    {
        kind
        for module in (rag_rec.errors, serving.errors)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, RagRecError)
    },
    key=lambda kind: kind.__name__,
)


HOME = Path("/srv/data of people/rag-rec")
MESSAGES = (
    "{home}/keys/signing.key cannot be used (Too many open files): check its rights.",
    "The copy of the ledger at {home}/ledger.jsonl cannot be used.",
    "[Errno 24] Too many open files: '/etc/rag-rec/key'",
    "Look into ../other/store.sqlite3, or ~/store.sqlite3.",
    "No answer from postgresql+psycopg://user:secret@10.0.0.5:5432/people at all.",
    "http://10.0.0.5:8000 does not serve the model.",
)
SECRETS = ("/srv", "keys", "ledger.jsonl", "/etc", "sqlite3", "secret", "10.0.0.5", "people/")


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("home", [HOME, Path(".rag-rec"), Path("data")], ids=str)
def test_places_are_hidden(message: str, home: Path) -> None:
    shown = Disclosure(Settings(home=home)).without_places(message.format(home=home))
    assert HIDDEN in shown
    assert not [secret for secret in SECRETS if secret in shown], shown
    assert str(home) not in shown


@pytest.mark.parametrize(
    "message",
    [
        "There is no item with this id; add it with PUT /v1/items/{id}.",
        "There is no such address; /openapi.json lists them all.",
        "Send the body as JSON, with the header 'Content-Type: application/json'.",
        "Run `rag-rec index build`, and look at RAGREC_HOME/keys.",
        "interaction_ids, item_ids, before and after need the scope; 1/2 and and/or are no paths. The data is kept.",
    ],
)
def test_what_helps_a_caller_is_shown(message: str) -> None:
    for home in (HOME, Path(".rag-rec"), Path()):
        assert Disclosure(Settings(home=home)).without_places(message) == message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_over_http(api: Api, engine: FakeEngine, kind: type[RagRecError]) -> None:
    home = api.service.settings.home
    engine.failure = kind(f"{home}/keys/signing.key cannot be used: check its rights.")
    for method, path, body in (
        ("POST", "/v1/recommendations", {"user_id": "u1"}),
        ("POST", "/v1/recommendations/explain", {"user_id": "u1"}),
        ("POST", "/v1/users/u1/interactions", {"item_id": "i1"}),
        ("DELETE", "/v1/users/u1?dry_run=true", None),
        ("GET", "/v1/users/u1/export", None),
    ):
        for role in KEYS:
            response = api.ask(method, path, KEYS[role], body)
            assert str(home) not in response.text
            assert "signing.key" not in response.text
            if response.status_code == kind.status and response.status_code != 403:
                assert response.json()["error"]["code"] == kind.code
    if kind.status >= 500:
        assert f"{home}/keys/signing.key" in api.log.getvalue().decode()


class Panic(BaseException):
    """What a panic of a Rust library is in Python."""


@pytest.mark.parametrize("kind", [WrongKey, CorruptIndex, KeyError, Panic])
def test_the_want_of_open_files_is_no_fault_of_keys_or_files(
    api: Api, engine: FakeEngine, kind: type[BaseException]
) -> None:
    failure = kind("/srv/keys/signing.key cannot be used")
    failure.__context__ = OSError(errno.EMFILE, "Too many open files")
    engine.failure = failure  # type: ignore[assignment]
    for method, path, body in (
        ("POST", "/v1/users/u1/interactions", {"item_id": "i1"}),
        ("DELETE", "/v1/users/u1?dry_run=true", None),
    ):
        response = api.call(method, path, json=body)
        assert (response.status_code, error_code(response)) == (503, "overloaded")
        assert response.headers["retry-after"]
        assert "/srv" not in response.text


def test_a_panic_is_a_defect_in_the_one_shape(api: Api, engine: FakeEngine) -> None:
    engine.failure = Panic("u1 likes i0")  # type: ignore[assignment]
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    assert (response.status_code, error_code(response)) == (500, "internal")
    (defect,) = [line for line in map(orjson.loads, api.log.getvalue().splitlines()) if line["event"] == "defect"]
    assert defect["error"] == "Panic"
    assert "likes" not in api.log.getvalue().decode()
