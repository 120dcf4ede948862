"""A service over the real engine, called without a socket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from rag_rec.domain import Interaction
from serving.auth import Keyring, Role
from serving.logs import open_log
from serving.service import Service
from tests.homes import ITEMS, running, settings_for
from tests.serving.conftest import KEYS, Api

INTERACTIONS = [
    Interaction(f"user-{user}", ITEMS[(3 * user + step) % len(ITEMS)].id, 1_000 * step + user, value=5.0)
    for user in range(8)
    for step in range(5)
]


@pytest.fixture
def api(tmp_path: Path, document: dict[str, Any]) -> Iterator[Api]:
    engine = running(tmp_path, INTERACTIONS)
    keyring = Keyring({key: frozenset({Role(role)}) for role, key in KEYS.items()})
    service = Service(settings_for(tmp_path, max_k=50), keyring, open_log(log := io.BytesIO()), engine)
    with start_blocking_portal() as portal:
        yield Api(service, portal, log, document)
    service.close()


def recommend(api: Api, user_id: str, **options: Any) -> dict[str, Any]:
    response = api.call("POST", "/v1/recommendations", json={"user_id": user_id, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
