"""Looks for known vulnerabilities in every version that the locks pin.

``python -m tools.audit`` asks PyPI's vulnerability service through pip-audit; ``ALSO`` in the environment names what
stands in no lock. It ends with 0 only if every package was looked up and nothing is known, with 1 if something is, and
with 2 if some could not be looked up: pip-audit itself passes over those, and without a service it would find nothing
wrong with anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.lock import LOCK, SUPPLY_LOCK, VLLM_LOCK, pinned_in

MAY_BE_OFFLINE: Final = "--may-be-offline"
"""An argument: end with 0 also where packages could not be looked up, which is said all the same."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What came out.

    Attributes:
        checked: how many packages were looked up.
        vulnerable: what is known, one line for each vulnerability.
        unknown: packages that could not be looked up.
    """

    checked: int
    vulnerable: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code."""
        return 1 if self.vulnerable else 2 if self.unknown or not self.checked else 0


def audit(pinned: Sequence[str]) -> Audit:
    """Look ``name==version`` lines up."""
    names = tuple(line.partition("==")[0] for line in pinned)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pinned))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip"]
        command += ["--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    try:
        return read(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError, TypeError):  # it broke off, as where the service cannot be reached
        return Audit(0, (), names)


def read(dependencies: Sequence[dict[str, Any]]) -> Audit:
    """What pip-audit's report says of each package."""
    known = [each for each in dependencies if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {', '.join(vulnerability['fix_versions'])}"
        for each in known
        for vulnerability in each["vulns"]
    ]
    unknown = tuple(each["name"] for each in dependencies if "skip_reason" in each)
    return Audit(len(known), tuple(found), unknown)


def main() -> int:
    """Look every lock up, and say what was found."""
    pinned = {line for lock in (LOCK, SUPPLY_LOCK, VLLM_LOCK) for line in pinned_in(lock)}
    found = audit(sorted({*pinned, *os.environ.get("ALSO", "").split()}))
    for line in found.vulnerable:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{found.checked} packages looked up, {len(found.vulnerable)} vulnerabilities known.\n")
    if found.unknown:
        sys.stdout.write(
            f"{len(found.unknown)} packages were NOT looked up, so nothing is known of them: is PyPI's vulnerability "
            "service reachable from here? Run it again where it is.\n"
        )
    return 0 if found.code == 2 and MAY_BE_OFFLINE in sys.argv else found.code


if __name__ == "__main__":
    sys.exit(main())
