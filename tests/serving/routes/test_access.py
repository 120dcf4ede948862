from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.serving.conftest import Api


def test_export(api: Api) -> None:
    assert api.call("GET", "/v1/users/u1/export").json() == {
        "user": {"id": "u1", "attributes": {"age": 30, "tags": ["a", "b"]}},
        "interactions": [
            {"id": 0, "item_id": "i0", "event": "rating", "value": 5.0, "text": None, "time": 1000},
            {"id": 1, "item_id": "i1", "event": "rating", "value": None, "text": "liked it", "time": 2000},
        ],
    }


def test_nothing_is_exported_of_a_forgotten_person(api: Api) -> None:
    assert api.forget("u1").status_code == 200
    assert api.call("GET", "/v1/users/u1/export").status_code == 404
