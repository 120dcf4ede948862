from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from rag_rec.errors import Forbidden, InvalidInput, Unauthorized
from rag_rec.forgetting.audit.actor import Actor, ActorKind
from serving.auth import Keyring, Role, fingerprint

if TYPE_CHECKING:
    from tests.serving.conftest import Api

ALPHA = "alpha-key-of-the-test"
LONG = "a-key-that-is-long-enough"


def request(*headers: tuple[str, str]) -> Request:
    return Request({"type": "http", "headers": [(name.lower().encode(), value.encode()) for name, value in headers]})


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.from_settings(
        {SecretStr(ALPHA): ["recommend", "ingest"], SecretStr("schlüssel-der-probe"): ["admin"]}
    )


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {ALPHA}"),
        ("authorization", f"bearer  {ALPHA} "),
        ("X-API-Key", ALPHA),
    ],
)
def test_a_known_key_passes_for_its_roles(keyring: Keyring, header: tuple[str, str]) -> None:
    keyring.authorise(request(header), Role.RECOMMEND)
    keyring.authorise(request(header), Role.INGEST)
    keyring.authorise(request(header), None)
    with pytest.raises(Forbidden, match="privacy"):
        keyring.authorise(request(header), Role.PRIVACY)


def test_admin_passes_for_every_role(keyring: Keyring) -> None:
    for role in Role:
        keyring.authorise(request(("X-API-Key", "schlüssel-der-probe")), role)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer alpha-key-of-the-tes")],
        [("Authorization", "Bearer alpha-key-of-the-test alpha-key-of-the-test")],
        [("Authorization", "Basic alpha-key-of-the-test")],
        [("X-API-Key", "ALPHA-KEY-OF-THE-TEST")],
        [("X-API-Key", "\xff")],
        [("Authorization", "Bearer wrong"), ("X-API-Key", ALPHA)],
    ],
)
def test_anything_else_is_refused(keyring: Keyring, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Unauthorized):
        keyring.authorise(request(*headers), Role.RECOMMEND)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"": ["admin"]},
        {f" {LONG}": ["admin"]},
        {f"{LONG}\n": ["admin"]},
        {LONG: []},
        {LONG: ["root"]},
        {LONG: ["admin", "x"]},
        {"change-me": ["admin"]},
        {"Change-Me-As-Well-Please": ["admin"]},
        {"a" * 15: ["admin"]},
    ],
)
def test_unusable_settings_are_refused_without_naming_the_key(keys: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Keyring.from_settings({SecretStr(key): roles for key, roles in keys.items()})
    assert "RAGREC_API_KEYS" in str(caught.value) or "roles" in str(caught.value)
    assert not any(key and key in str(caught.value) for key in keys)


def test_the_caller_is_known_by_a_fingerprint_and_the_role_that_was_used(keyring: Keyring) -> None:
    ordinary, admin = request(("X-API-Key", ALPHA)), request(("X-API-Key", "schlüssel-der-probe"))
    caller = keyring.authorise(ordinary, Role.INGEST)
    assert caller == Actor(ActorKind.KEY, fingerprint(ALPHA.encode()), "ingest")
    assert keyring.authorise(ordinary, None).role is None
    assert keyring.authorise(admin, Role.PRIVACY).role == "admin"
    assert (caller.name, ["ingest", "recommend"]) in keyring.described()
    assert "alpha" not in repr(caller)


def test_a_refusal_comes_before_the_body_is_read(api: Api) -> None:
    response = api.call("POST", "/v1/recommendations", None, content=b"{" * 100_000)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
