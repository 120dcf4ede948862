"""What an application imports from ``rag_rec``."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rag_rec
from rag_rec.settings import Settings

SOURCE = Path(rag_rec.__file__)


def typed_names() -> dict[str, str]:
    """Each name that type checkers see, with its module."""
    return {
        alias.name: node.module or ""
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rag_rec.")
        for alias in node.names
    }


def test_types_and_run_time_agree_on_every_name() -> None:
    assert typed_names() == rag_rec._MODULES
    assert sorted(rag_rec.__all__) == sorted(rag_rec._MODULES)
    assert set(rag_rec.__all__) <= set(dir(rag_rec))


@pytest.mark.parametrize("name", rag_rec.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(rag_rec, name).__name__ == name


def test_a_name_is_the_same_object_as_in_its_module() -> None:
    assert rag_rec.Settings is Settings


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    missing = "Engines"
    with pytest.raises(AttributeError, match=f"no attribute '{missing}'"):
        getattr(rag_rec, missing)


def test_importing_the_package_brings_no_library() -> None:
    code = "import sys; before = set(sys.modules); import rag_rec; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "rag_rec" in loaded
    assert {name.partition(".")[0] for name in loaded} <= {"rag_rec", *sys.stdlib_module_names}
