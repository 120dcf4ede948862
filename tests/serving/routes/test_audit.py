from __future__ import annotations

import pytest

from serving.auth import fingerprint
from tests.serving.conftest import KEYS, Api
from tests.serving.fake_officer import subject_of


def test_lists_what_was_done_by_whom(api: Api) -> None:
    response = api.call("GET", "/v1/audit?after=1&limit=1", "privacy")
    assert response.status_code == 200
    actor = {"kind": "key", "name": fingerprint(KEYS["privacy"].encode()), "role": "privacy"}
    expected = {"sequence": 2, "time": 5_002, "action": "forget", "actor": actor, "request": "r2"}
    assert response.json() == {"actions": [{**expected, "subject": subject_of("ada")}]}
    assert KEYS["privacy"] not in response.text


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "limit=1001", "after=x", "all=true"])
def test_refuses_other_queries(api: Api, query: str) -> None:
    assert api.call("GET", f"/v1/audit?{query}", "privacy").status_code == 422


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("recommend", 403), ("ingest", 403), ("metrics", 403)])
def test_is_for_privacy_officers(api: Api, role: str, status: int) -> None:
    assert api.call("GET", "/v1/audit", role).status_code == status
