from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from rag_rec.errors import Forbidden, InvalidInput, Unauthorized
from serving.auth import Keyring, Role

if TYPE_CHECKING:
    from tests.serving.conftest import Api


def request(*headers: tuple[str, str]) -> Request:
    return Request({"type": "http", "headers": [(name.lower().encode(), value.encode()) for name, value in headers]})


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.from_settings({SecretStr("alpha"): ["recommend", "ingest"], SecretStr("schlüssel"): ["admin"]})


@pytest.mark.parametrize(
    "header",
    [("Authorization", "Bearer alpha"), ("authorization", "bearer  alpha "), ("X-API-Key", "alpha")],
)
def test_a_known_key_passes_for_its_roles(keyring: Keyring, header: tuple[str, str]) -> None:
    keyring.authorise(request(header), Role.RECOMMEND)
    keyring.authorise(request(header), Role.INGEST)
    keyring.authorise(request(header), None)
    with pytest.raises(Forbidden, match="privacy"):
        keyring.authorise(request(header), Role.PRIVACY)


def test_admin_passes_for_every_role(keyring: Keyring) -> None:
    for role in Role:
        keyring.authorise(request(("X-API-Key", "schlüssel")), role)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer alph")],
        [("Authorization", "Bearer alpha alpha")],
        [("Authorization", "Basic alpha")],
        [("X-API-Key", "ALPHA")],
        [("X-API-Key", "\xff")],
        [("Authorization", "Bearer wrong"), ("X-API-Key", "alpha")],
    ],
)
def test_anything_else_is_refused(keyring: Keyring, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Unauthorized):
        keyring.authorise(request(*headers), Role.RECOMMEND)


@pytest.mark.parametrize(
    "keys",
    [{}, {"": ["admin"]}, {" a": ["admin"]}, {"a\n": ["admin"]}, {"a": []}, {"a": ["root"]}, {"a": ["admin", "x"]}],
)
def test_unusable_settings_are_refused_without_naming_the_key(keys: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Keyring.from_settings({SecretStr(key): roles for key, roles in keys.items()})
    assert "RAGREC_API_KEYS" in str(caught.value) or "roles" in str(caught.value)


def test_a_refusal_comes_before_the_body_is_read(api: Api) -> None:
    response = api.call("POST", "/v1/recommendations", None, content=b"{" * 100_000)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
