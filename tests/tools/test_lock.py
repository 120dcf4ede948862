"""The lock file: what it holds, and how it is made."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import LOCK, ROOT, pins, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked() -> dict[str, str]:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)
    return dict(line.split("==") for line in lines)


def test_every_direct_requirement_is_locked_to_a_version_that_it_allows() -> None:
    versions = locked()
    for text in requirements(PROJECT):
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_no_accelerator_library_is_locked() -> None:
    assert not [name for name in locked() if name.startswith(("nvidia", "cuda", "triton"))]


def test_pins_are_sorted_normal_names_without_local_versions() -> None:
    packages = [("torch", "2.13.0+cpu"), ("Ruamel.YAML_x", "1.0"), ("nvidia-cublas", "13.0"), ("triton", "3.0")]
    assert pins(packages) == ["ruamel-yaml-x==1.0", "torch==2.13.0"]
