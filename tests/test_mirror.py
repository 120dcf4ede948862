"""Tests mirror the code: where a module lies, its tests lie below ``tests``.

``tests/PACKAGE/ROOM/test_NAME.py`` tests ``PACKAGE/ROOM/NAME.py``, or, where it is long, one side of it
(``test_NAME_SIDE.py``). What goes across modules is named here and says in its first line what it holds.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rag_rec", "indexer", "serving", "benchmarks", "demo", "tools")

ACROSS = {
    "benchmarks": ("help",),
    "rag_rec": ("face",),
    "rag_rec/adapters": ("elsewhere",),
    "rag_rec/engine": ("explains", "no_system", "old_folder"),
    "rag_rec/engine/removals": ("killed",),
    "rag_rec/forgetting": (
        *("attention", "canaries", "crash", "fence", "freed_service", "places", "reisolation"),
        *("states", "two_services"),
    ),
    "rag_rec/index": ("equal_to_twin",),
    "rag_rec/layers": ("layers",),
    "rag_rec/progress": ("commands",),
    "rag_rec/store": ("concurrency", "opening", "physical_deletion", "random_logs"),
    "serving": (
        *("arbitrary_input", "attack", "fence", "real_engine", "schemathesis", "store_faults"),
        *("vllm_service_real", "workers"),
    ),
}
"""What is held by several modules together, by the folder of its tests."""
TESTS = sorted(
    path.relative_to(ROOT / "tests") for package in PACKAGES for path in (ROOT / "tests" / package).rglob("test_*.py")
)


def across(test: Path) -> bool:
    return test.stem.removeprefix("test_") in ACROSS.get(str(test.parent), ())


def mirrored(test: Path) -> bool:
    """Whether there is a module of the test's name, or of the beginning of its name."""
    words = test.stem.split("_")[1:]
    names = ("_".join(words[:count]) for count in range(1, len(words) + 1))
    return any((ROOT / test.parent / f"{name}.py").is_file() for name in names)


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_a_test_lies_where_its_module_does(test: Path) -> None:
    assert mirrored(test) != across(test), "name its module, or add it to what goes across modules"


@pytest.mark.parametrize("test", [test for test in TESTS if across(test)], ids=str)
def test_what_goes_across_modules_says_what_it_holds(test: Path) -> None:
    assert ast.get_docstring(ast.parse((ROOT / "tests" / test).read_text()))


def test_only_what_is_there_is_named() -> None:
    named = {Path(folder) / f"test_{name}.py" for folder, names in ACROSS.items() for name in names}
    assert named <= set(TESTS)


def test_helpers_lie_in_modules_of_their_own() -> None:
    """No test module is imported by another one."""
    importing = re.compile(r"^from tests\.(?:\w+\.)*test_\w+ import|^import tests\.(?:\w+\.)*test_", re.MULTILINE)
    assert [path for path in (ROOT / "tests").rglob("*.py") if importing.search(path.read_text())] == []
