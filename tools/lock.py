"""Writes ``requirements.lock``: one exact version for every package that the project and its tests need.

``python -m tools.lock`` asks pip's resolver for the newest versions that ``pyproject.toml`` allows. Libraries that
only a CUDA build of PyTorch needs are left out: PyTorch pins those itself, and a CPU build has none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
EXTRAS = ("dev", "postgres")
ACCELERATOR = re.compile(r"^(nvidia-|cuda-|triton$|pytorch-triton)")
HEADER = "# Exact versions of everything that the project and its tests need. Written by `make lock`.\n"


def requirements(project: Mapping[str, Any]) -> list[str]:
    """Direct requirements: those of the package, of its extras for development, and of its build."""
    table = project["project"]
    extras = (requirement for extra in EXTRAS for requirement in table["optional-dependencies"][extra])
    return [*table["dependencies"], *extras, *project["build-system"]["requires"]]


def pins(packages: Iterable[tuple[str, str]]) -> list[str]:
    """``name==version`` lines, sorted, without local version labels such as ``+cpu``."""
    named = {re.sub(r"[-_.]+", "-", name).lower(): version.split("+")[0] for name, version in packages}
    return sorted(f"{name}=={version}" for name, version in named.items() if not ACCELERATOR.match(name))


def resolve(wanted: list[str]) -> list[tuple[str, str]]:
    """Name and version of every package that pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    report = subprocess.run([*command, *wanted], check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    installed = json.loads(report)["install"]
    return [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in installed]


def main() -> None:
    """Resolve and write the lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    LOCK.write_text(HEADER + "\n".join(pins(resolve(requirements(project)))) + "\n")


if __name__ == "__main__":
    main()
