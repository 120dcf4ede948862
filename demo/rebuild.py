"""Rebuilds the index while requests keep coming, and watches the service switch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np

from demo.service import Api, Commands

SWITCH_SECONDS = 60.0
PAUSE_SECONDS = 0.1  # between requests, so that the rebuild gets its share of a small machine


def rebuild_under_load(api: Api, commands: Commands, users: Sequence[str]) -> dict[str, Any]:
    """Rebuild while recommendations for ``users`` are asked for, until the service answers from the new generation."""
    asked = itertools.cycle(users)
    before = api.recommend(next(asked))["provenance"]["generation"]
    process = commands.start("index", "rebuild")
    answers = [_ask(api, next(asked)) for _ in _while_running(process)]
    built = commands.result(process)
    answers.extend(_until(api, asked, str(built["generation"])))
    seen = [generation for generation, _ in answers if generation is not None]
    milliseconds = [duration for _, duration in answers]
    return {
        "generation_before": before,
        "generation_after": seen[-1] if seen else None,
        "answered": len(seen),
        "failed": len(answers) - len(seen),
        "median_ms": round(float(np.median(milliseconds)), 1),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 1),
        "built": built,
    }


def _while_running(process: Any) -> Iterator[None]:
    while process.poll() is None:
        yield
        time.sleep(PAUSE_SECONDS)


def _until(api: Api, users: Iterator[str], generation: str) -> Iterator[tuple[str | None, float]]:
    until = time.monotonic() + SWITCH_SECONDS
    while time.monotonic() < until:
        answer = _ask(api, next(users))
        yield answer
        if answer[0] == generation:
            return
        time.sleep(PAUSE_SECONDS)


def _ask(api: Api, user_id: str) -> tuple[str | None, float]:
    """The generation that answered, None for a failure, and how long it took in milliseconds."""
    started = time.perf_counter()
    try:
        response = api.call("POST", "/v1/recommendations", json={"user_id": user_id, "k": 5})
        generation = response.json()["provenance"]["generation"] if response.is_success else None
    except httpx.HTTPError:
        generation = None
    return generation, 1000 * (time.perf_counter() - started)
