from __future__ import annotations

from typing import Any

import pytest

from rag_rec.commands.receipt_words import removed_in_words, words

DOCUMENT: dict[str, Any] = {
    "request": "r1",
    "batch": "b1",
    "revision": 2,
    "supersedes": "5" * 64,
    "subject": "hmac-sha256:s",
    "scope": "interactions",
    "removed": {"users": 0, "interactions": 2},
    "state": "complete",
    "accepted": "2026-01-01T00:00:00.000Z",
    "issued": "2026-01-01T00:00:01.000Z",
    "deadline": "2026-01-31T00:00:00.000Z",
    "key": "k",
    "twin": {"equal": True, "users": 5, "mode": "exact", "rows": []},
    "complete": True,
    "layers": [],
}


def test_a_revision_with_a_proof() -> None:
    told = words(DOCUMENT)
    assert (told["batch"], told["removed"]) == ("b1", "2 interactions")
    assert told["revision"] == f"2, supersedes {'5' * 64}"
    assert told["proof"] == "equal, 5 users compared, exact"
    unequal = words(DOCUMENT | {"twin": {"equal": False, "users": 20_001, "users_listed": 2000, "mode": "sampled"}})
    assert unequal["proof"] == "DIFFERENT, 20,001 users compared, sampled (lists of 2,000)"


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ({"users": 1, "interactions": 6}, "1 user, 6 interactions"),
        ({"users": 0, "interactions": 1}, "1 interaction"),
        ({"users": 0, "interactions": 0}, "nothing"),
    ],
)
def test_what_was_removed_is_counted(removed: dict[str, int], said: str) -> None:
    assert removed_in_words(removed) == said


def test_the_measured_figure_is_readable() -> None:
    figure = {"membership_inference_auc": 0.531, "low": 0.4921, "high": 0.57, "attack": "likelihood"}
    detail = {**figure, "members": 1700, "held_out": 150, "generation": "g"}
    reader = {"layer": "fusion_reader", "status": "MEASURED", "until": None, "why": "So.", "detail": detail}
    said = "membership inference AUC 0.531 [0.492, 0.570] of generation g, 1,700 members against 150 people kept out"
    assert words(DOCUMENT | {"layers": [reader]})["layers"] == [f"fusion_reader: MEASURED. So. ({said})"]


def test_a_figure_of_an_earlier_version_is_told_as_it_stands() -> None:
    detail = {"membership_inference_auc": 0.5642, "low": 0.5273, "high": 0.6007, "measured_on": "ML-100K, an attack"}
    reader = {"layer": "fusion_reader", "status": "MEASURED", "until": None, "why": "So.", "detail": detail}
    (line,) = words(DOCUMENT | {"layers": [reader]})["layers"]
    assert "ML-100K, an attack" in line
