"""How the tests are shared between workers, and what holds for all of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # a timing never fails a test
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts real servers or reads large data, and what runs on PostgreSQL."""
    for item in items:
        if item.get_closest_marker("integration") or "postgresql" in item.nodeid:
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker one test after the other, but all tests of the real vLLM engine to the same one.

    The engine takes a minute to start and 3 GB. The mark ``xdist_group`` would say the same; pytest-xdist 3.8 overlooks
    it with pytest 9.2.
    """
    scheduling = import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduling._split_scope = unit
    return scheduling


def unit(nodeid: str) -> str:
    """Tests of the same unit run on the same worker."""
    return "vllm" if nodeid.partition("::")[0].endswith("_real.py") else nodeid
