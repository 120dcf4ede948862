"""Makes what ``docker/compose.yaml`` asks for: ``docker/.env`` and the files in ``docker/secrets``.

``python -m tools.docker_secrets`` never replaces a file that is there: a lost key cannot be made again. Run it as root,
or give the files to the user 10001 yourself: the containers run as that user and refuse keys that others can read.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOCKER: Final = Path(__file__).resolve().parent.parent / "docker"
USER: Final = 10001
"""As which the containers run; see the Dockerfiles."""


def make(folder: Path, docker: Path = DOCKER) -> list[Path]:
    """Make the files that are missing, for their owner alone. Returns them.

    Args:
        folder: where ``.env`` and ``secrets`` go.
        docker: where ``.env.example`` is.
    """
    kept = folder / "secrets"
    for path in (kept, kept / "api"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    metrics = _metrics_key(folder) or secrets.token_urlsafe(32)
    keys = {secrets.token_urlsafe(32): ["admin"], metrics: ["metrics"]}
    wanted = {
        folder / ".env": _environment((docker / ".env.example").read_text(), metrics),
        kept / "pseudonym.key": _key(),
        kept / "signing.key": _key(),
        kept / "api" / "api-keys.json": json.dumps(keys, indent=2) + "\n",
    }
    return [path for path, text in wanted.items() if _write(path, text)]


def _environment(example: str, metrics: str) -> str:
    given: Mapping[str, str] = {"POSTGRES_PASSWORD": secrets.token_hex(24), "PROMETHEUS_KEY": metrics}
    lines = [f"{line}{given.get(line.removesuffix('='), '')}" for line in example.splitlines()]
    return "\n".join(lines) + "\n"


def _metrics_key(folder: Path) -> str | None:
    """Of an environment that is there already."""
    if not (folder / ".env").is_file():
        return None
    found = [line.partition("=")[2] for line in (folder / ".env").read_text().splitlines() if "PROMETHEUS_KEY" in line]
    return found[-1] or None if found else None


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode() + "\n"


def _write(path: Path, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    return True


def main() -> None:
    """Make what is missing, and say what is left to do."""
    made = make(DOCKER)
    for path in made:
        sys.stdout.write(f"made {path}\n")
    if os.geteuid() == 0:
        for path in [DOCKER / "secrets", *(DOCKER / "secrets").rglob("*")]:
            os.chown(path, USER, USER)
    elif made:
        sys.stdout.write(f"Now run as root: chown -R {USER}:{USER} {DOCKER / 'secrets'}\n")
    sys.stdout.write(
        "Keep a copy of docker/.env and docker/secrets apart from this machine: lost keys cannot be made.\n"
    )


if __name__ == "__main__":
    main()
