"""What the project says of itself to others: licence, version, where to report, and the checks before a commit."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

import rag_rec

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt."""


def yaml_of(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_licence_is_the_official_text() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]


def test_what_is_installed_carries_the_licence() -> None:
    installed = metadata("rag-rec")
    assert installed["License-Expression"] == "Apache-2.0"
    assert installed.get_all("License-File") == ["LICENSE"]


@pytest.mark.parametrize("name", ["docker/Dockerfile.cpu", "docker/Dockerfile.gpu"])
def test_images_are_built_with_the_licence(name: str) -> None:
    """Without the file a build of the package fails."""
    assert "pyproject.toml README.md LICENSE ./" in (ROOT / name).read_text()
    assert "!LICENSE" in (ROOT / ".dockerignore").read_text().splitlines()


def test_every_place_names_the_same_version() -> None:
    citation = yaml_of("CITATION.cff")
    assert citation["version"] == PROJECT["version"] == rag_rec.__version__
    assert citation["license"] == PROJECT["license"]


def test_the_supported_version_is_the_present_one() -> None:
    minor = ".".join(PROJECT["version"].split(".")[:2])
    assert f"| the newest {minor} release, and the main branch | yes |" in (ROOT / "SECURITY.md").read_text()


def test_a_commit_is_checked_by_the_tools_of_make_lint() -> None:
    (repository,) = yaml_of(".pre-commit-config.yaml")["repos"]
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert repository["repo"] == "local"
    assert {hook["entry"].split()[0] for hook in repository["hooks"]} == {
        line.split()[0].replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]
    }
