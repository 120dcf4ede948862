"""Writes the lock files: one exact version, with the hashes of all its files, for every package that is installed.

``python -m tools.lock`` asks pip's resolver for the newest versions that ``pyproject.toml`` allows, and uv for the
SHA-256 of every wheel and source archive of each of them, so that one lock serves every platform and Python version.
``python -m tools.lock --keep`` keeps the versions that are pinned, and adds hashes and what is missing.

PyTorch stands in no lock, for the same version has other files on other indexes (with and without CUDA); the Makefile
and the Dockerfiles pin its version. Libraries that only its CUDA build needs are left out, too: it pins them itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements.lock"
RUN_LOCK: Final = ROOT / "requirements-run.lock"
SUPPLY_LOCK: Final = ROOT / "requirements-supply.lock"
VLLM_LOCK: Final = ROOT / "requirements-vllm.lock"
OLDEST_PYTHON: Final = "3.11"
ACCELERATOR: Final = re.compile(r"^(nvidia-|cuda-|triton$|pytorch-triton)")
UNHASHED: Final = "torch"
PARTS: Final = ("llm", "serving", "explain", "postgres")
"""The extras that make up the whole product."""
WRITTEN: Final = "Written by `make lock`; every file of each version is hashed. PyTorch is installed beside it."
HEADERS: Final = {
    LOCK: "Everything that the project and its tests need.",
    RUN_LOCK: "What the service and the batch jobs need, for the images.",
    SUPPLY_LOCK: "The tools that write these locks and the bill of materials, and look for known vulnerabilities.",
    VLLM_LOCK: "What vLLM on a CPU needs, for the tests of its client. The versions are chosen by hand.",
}


def requirements(project: Mapping[str, Any], extras: Sequence[str] = ("dev", *PARTS)) -> list[str]:
    """Direct requirements: those of the package, of some of its extras, and of its build."""
    table = project["project"]
    chosen = (requirement for extra in extras for requirement in table["optional-dependencies"][extra])
    return [*table["dependencies"], *chosen, *project["build-system"]["requires"]]


def pins(packages: Iterable[tuple[str, str]]) -> list[str]:
    """``name==version`` lines, sorted, without local version labels such as ``+cpu``."""
    named = {re.sub(r"[-_.]+", "-", name).lower(): version.split("+")[0] for name, version in packages}
    return sorted(f"{name}=={version}" for name, version in named.items() if not ACCELERATOR.match(name))


def pinned_in(lock: Path) -> list[str]:
    """The ``name==version`` lines of a lock file, without its hashes."""
    return re.findall(r"^[\w.-]+==[^\s\\]+", lock.read_text(), re.MULTILINE)


def resolve(wanted: Sequence[str], fixed: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Name and version of every package that pip would install into an empty environment.

    Args:
        wanted: requirements.
        fixed: versions that packages have if they are among them.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(fixed))
        constraints.flush()
        command += ["--constraint", constraints.name, *wanted]
        report = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    return [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in json.loads(report)["install"]]


def hashed(pinned: Sequence[str]) -> str:
    """Pinned requirements with the hashes of all their files, as pip reads them; without PyTorch."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--universal", "--no-header"]
    command += ["--no-annotate", "--generate-hashes", "--python-version", OLDEST_PYTHON, "-"]
    text = "\n".join(line for line in pinned if line.partition("==")[0] != UNHASHED)
    return subprocess.run(command, check=True, input=text, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def write(lock: Path, pinned: Sequence[str]) -> None:
    """Write a lock file."""
    lock.write_text(f"# {HEADERS[lock]}\n# {WRITTEN}\n{hashed(pinned)}")


def main() -> None:
    """Resolve and write every lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    kept = pinned_in(LOCK) if "--keep" in sys.argv else []
    everything = pins(resolve(requirements(project), kept))
    write(LOCK, everything)
    write(RUN_LOCK, pins(resolve(requirements(project, PARTS), everything)))
    write(
        SUPPLY_LOCK,
        pins(resolve(project["project"]["optional-dependencies"]["supply"], pinned_in(SUPPLY_LOCK) if kept else [])),
    )
    write(VLLM_LOCK, pinned_in(VLLM_LOCK))


if __name__ == "__main__":
    main()
