"""The whole interface under generated requests: valid ones are accepted, and every answer is one that is documented.

The generator knows nothing but the OpenAPI document and the rules in :mod:`tests.serving.schemathesis_hooks`. With each
role's key it sends examples, the limits of every field, random values, missing and wrong fields, other methods and
no key, with a fixed seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.auth import Role
from tests.serving.small_service import KEYS, ROOT, prepare, small_service

CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]

[auth.openapi.bearer]
bearer = "{key}"

[auth.openapi.api_key]
api_key = "{key}"
"""
OPTIONS = ("--seed=1", "--generation-database=none", "--request-timeout=60", "--checks=all", "--no-color")
SYSTEMATIC = ("--phases=examples,coverage,fuzzing", "--max-examples=15")
RANDOM = ("--phases=fuzzing", "--max-examples=4")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    prepare(home)
    with small_service(home, 4096) as address:
        while httpx.get(f"{address}/readyz", trust_env=False).status_code != 200:
            pass
        yield address


@pytest.mark.integration
@pytest.mark.parametrize("role", Role)
def test_the_interface_is_as_documented(url: str, role: Role, tmp_path: Path) -> None:
    document = httpx.get(f"{url}/openapi.json", headers={"X-API-Key": KEYS[role]}, trust_env=False)
    (tmp_path / "openapi.json").write_bytes(document.raise_for_status().content)
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(key=KEYS[role]))
    thorough = SYSTEMATIC if role is Role.ADMIN else RANDOM
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
    outcome = subprocess.run(
        [*command, str(tmp_path / "openapi.json"), "--url", url, *OPTIONS, *thorough],
        cwd=tmp_path,  # the program keeps notes in the folder where it runs
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.serving.schemathesis_hooks"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "Test cases:" in outcome.stdout
