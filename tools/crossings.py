"""Counts the modules of the product that a recommendation, a dry run and a removal pass through, in process.

``python -m tools.crossings`` traces each at run time on the small system of the tests, after a first one of its kind.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from rag_rec.domain import RecommendationRequest
from rag_rec.forgetting.request import ForgetRequest
from tests.homes import running
from tests.rag_rec.forgetting.asking import confirmed, forget
from tests.rag_rec.forgetting.homes import CANARY, log

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(f"{ROOT / package}/" for package in ("rag_rec", "indexer", "serving"))


class Trace:
    """What was called while :func:`traced` ran."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.calls = self.crossings = 0
        self._last = ""

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """The interpreter's hook."""
        module = frame.f_code.co_filename
        if event == "call" and module.startswith(PACKAGES):
            self.calls += 1
            self.crossings += module != self._last
            self.modules.add(module)
            self._last = module


def traced(job: Callable[[], object]) -> dict[str, int]:
    """Modules entered, calls, and calls that lead into another module."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        job()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {"modules": len(trace.modules), "calls": trace.calls, "crossings": trace.crossings}


def main() -> None:
    """Print the counts as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        engine = running(Path(folder) / "home", log())
        asked = RecommendationRequest(user_id="user-1", k=3)
        engine.recommend(asked)
        forget(engine.officer, "user-0")
        counts = {
            "recommendation": traced(lambda: engine.recommend(asked)),
            "dry run": traced(lambda: engine.officer.plan(ForgetRequest.of(CANARY))),
        }
        request = confirmed(engine.officer, ForgetRequest.of(CANARY))
        counts["removal"] = traced(lambda: engine.officer.forget(request))
        engine.close()
    sys.stdout.write(orjson.dumps(counts, option=orjson.OPT_INDENT_2).decode() + "\n")


if __name__ == "__main__":
    main()
