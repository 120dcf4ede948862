"""The lock file: what it holds, and how it is made."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import LOCK, PARTS, ROOT, RUN_LOCK, SUPPLY_LOCK, UNHASHED, VLLM_LOCK, pinned_in, pins, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


LOCKS = (LOCK, RUN_LOCK, SUPPLY_LOCK, VLLM_LOCK)
PINNED = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def hashes(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by package; every line has to be of this form."""
    text = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert PINNED.sub("", text) == ""
    return {
        name: (version, frozenset(re.findall("[0-9a-f]{64}", digests)))
        for name, version, digests in PINNED.findall(text)
    }


def locked(lock: Path = LOCK) -> dict[str, str]:
    return {name: version for name, (version, _) in hashes(lock).items()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_line_of_every_lock_has_hashes(lock: Path) -> None:
    assert len(hashes(lock)) > 20
    assert pinned_in(lock) == [f"{name}=={version}" for name, version in locked(lock).items()]


def test_files_of_every_platform_and_python_are_hashed() -> None:
    """Not only of the one that the lock was written on: numpy has more than twenty wheels."""
    assert all(len(hashes(lock)["numpy"][1]) > 20 for lock in (LOCK, RUN_LOCK, VLLM_LOCK))


@pytest.mark.parametrize(("lock", "extras"), [(LOCK, ["dev", *PARTS]), (RUN_LOCK, list(PARTS))])
def test_every_direct_requirement_is_locked_to_a_version_that_it_allows(lock: Path, extras: list[str]) -> None:
    versions = locked(lock)
    for text in requirements(PROJECT, extras):
        requirement = Requirement(text)
        if requirement.name != UNHASHED:
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_the_tools_are_locked() -> None:
    for text in PROJECT["project"]["optional-dependencies"]["supply"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked(SUPPLY_LOCK)[canonicalize_name(requirement.name)]), text


def test_what_runs_is_a_part_of_what_is_tested() -> None:
    everything, run = hashes(LOCK), hashes(RUN_LOCK)
    assert run.items() <= everything.items()
    assert "pytest" not in run


def test_neither_pytorch_nor_accelerator_libraries_are_locked() -> None:
    """Each build of PyTorch brings its own. Of the engine for CPUs, one package needs triton whatever the build."""
    for lock in LOCKS:
        names = [name for name in locked(lock) if name.startswith(("nvidia", "cuda", "triton")) or name == UNHASHED]
        assert names == (["triton"] if lock == VLLM_LOCK else [])


def test_nothing_is_installed_without_its_hash_but_pytorch() -> None:
    files = [(ROOT / name).read_text() for name in ("Makefile", "docker/Dockerfile.cpu", "docker/Dockerfile.gpu")]
    assert "--require-hashes" in re.findall(r"^HASHED := (.*)$", files[0], re.MULTILINE)[0]
    for line in (line for text in files for line in text.splitlines() if "pip install" in line):
        hashed = "$(HASHED)" in line or "--require-hashes" in line
        local = "--no-deps --no-build-isolation" in line
        assert hashed or local or "torch" in line.lower(), line


def test_pins_are_sorted_normal_names_without_local_versions() -> None:
    packages = [("torch", "2.13.0+cpu"), ("Ruamel.YAML_x", "1.0"), ("nvidia-cublas", "13.0"), ("triton", "3.0")]
    assert pins(packages) == ["ruamel-yaml-x==1.0", "torch==2.13.0"]
