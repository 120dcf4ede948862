"""What is installed: three packages with their data, and nothing that belongs to a checkout only."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rag_rec", "indexer", "serving")
OF_A_CHECKOUT = ("benchmarks", "demo", "tests", "tools")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
ALLOWED_BYTES = 1_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built in another folder so that nothing is left in this one."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, *OF_A_CHECKOUT, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-c", BUILD, str(made)], cwd=source, check=True, capture_output=True)
    (built,) = made.iterdir()
    return built


def test_the_wheel_holds_the_three_packages_and_their_data(wheel: Path) -> None:
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    data = {"rag_rec/py.typed", "rag_rec/catalogue/filters.lark", "rag_rec/store/migrations/script.py.mako"}
    assert held == modules | data


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < ALLOWED_BYTES


def test_every_command_of_the_wheel_is_in_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["scripts"].values(), *project["entry-points"]["rag_rec.commands"].values()]
    assert {target.partition(".")[0] for target in named} <= set(PACKAGES)
