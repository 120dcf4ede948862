"""Pins the images that the Dockerfiles and the compose file name by their digests.

``python -m tools.images`` asks the registries through Docker, and writes ``name:tag@sha256:...`` in place of
``name:tag``. Run it again to follow the tags.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

DOCKER: Final = Path(__file__).resolve().parent.parent / "docker"
NAMED: Final = re.compile(r"^((?:FROM|\s+image:) +)([\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?", re.MULTILINE)
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
OWN: Final = "rag-rec:"
"""How the names of images begin that are built here."""


def digest_of(image: str) -> str:
    """The digest that the registry has for an image. Raises ``RuntimeError``."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"docker could not tell the digest of {image}: {error}") from None
    found = done.stdout.strip()
    if not DIGEST.fullmatch(found):
        raise RuntimeError(f"docker gave no digest of {image}")
    return found


def pinned(text: str, digest: Callable[[str], str]) -> str:
    """A Dockerfile or compose file in which every image of others carries its digest."""

    def pin(match: re.Match[str]) -> str:
        image = match[2]
        return match[0] if image.startswith(OWN) else f"{match[1]}{image}@{digest(image)}"

    return NAMED.sub(pin, text)


def main() -> int:
    """Pin every image; nothing is written unless all digests were found."""
    files = sorted([*DOCKER.glob("Dockerfile.*"), *DOCKER.glob("compose*.yaml")])
    try:
        texts = [pinned(path.read_text(), digest_of) for path in files]
    except RuntimeError as error:
        sys.stderr.write(f"{error}\nNothing was changed.\n")
        return 1
    for path, text in zip(files, texts, strict=True):
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
