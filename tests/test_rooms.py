"""The plan of the house: arrows between rooms point one way, in every package and at every depth.

A room is a folder, or a module that stands beside folders. An import inside a function, or for types only, is an arrow
like any other.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rag_rec", "indexer", "serving")

FLOORS = (
    ("clock", "domain", "errors", "events", "layers", "progress"),
    ("catalogue", "evaluation", "identity", "settings"),
    ("artifacts", "fairness", "influence", "validation"),
    ("evidence", "store", "vectors"),
    ("candidates", "home", "presence"),
    ("index",),
    ("adapters",),
    ("compact", "places"),
    ("debias", "forgetting", "generators"),
    ("copies", "explain", "recommend"),
    ("proof",),
    ("engine",),
    ("commands", "langchain"),
)
"""The rooms of ``rag_rec`` from the ground up. A room imports from lower floors only."""

Arrows = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package's name is that of its ``__init__``."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the project that one imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in whole if {name, node.module} & set(known))


def arrows_within(package: str) -> Arrows:
    """Which of a package's rooms import which."""
    known, depth = modules(), package.count(".") + 1
    arrows: Arrows = defaultdict(set)
    for name, path in known.items():
        if name.startswith(f"{package}."):
            room = name.split(".")[depth]
            inside = (other.split(".") for other in imported(path, known) if other.startswith(f"{package}."))
            arrows[room] |= {parts[depth] for parts in inside} - {room}
    return arrows


def packages() -> list[str]:
    return [name for name, path in modules().items() if path.name == "__init__.py"]


@pytest.mark.parametrize("package", packages())
def test_no_two_rooms_of_a_package_import_each_other(package: str) -> None:
    try:
        TopologicalSorter(arrows_within(package)).prepare()
    except CycleError as error:
        raise AssertionError(f"{package}: {' <- '.join(error.args[1])}") from None


def test_every_room_of_the_library_imports_from_lower_floors_only() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    arrows = arrows_within("rag_rec")
    assert floor_of.keys() == arrows.keys(), "a room without a floor, or a floor without its room"
    upward = [(room, other) for room, others in arrows.items() for other in others if floor_of[other] >= floor_of[room]]
    assert upward == []


def test_few_modules_stand_beside_the_rooms_of_the_library() -> None:
    assert len(list((ROOT / "rag_rec").glob("*.py"))) <= 8
