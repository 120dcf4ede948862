"""Images by digest: what is rewritten, and that nothing is where a digest is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tools.images
from tools.images import DOCKER, NAMED, OWN, digest_of, main, pinned

DIGESTED = re.compile(r"@sha256:[0-9a-f]{64}$")
DIGEST = f"sha256:{'ab' * 32}"


def test_every_image_of_others_gets_its_digest_and_again_a_newer_one() -> None:
    for path in [*DOCKER.glob("Dockerfile.*"), DOCKER / "compose.yaml"]:
        once = pinned(path.read_text(), lambda _: DIGEST)
        assert once.count(DIGEST) == {"Dockerfile.cpu": 2, "Dockerfile.gpu": 2, "compose.yaml": 3}[path.name]
        newer = pinned(once, lambda image: f"sha256:{len(image):064x}")
        assert DIGEST not in newer
        assert newer.count("@sha256:") == once.count("@sha256:")


def test_every_image_of_others_is_pinned_by_its_digest() -> None:
    files = [*DOCKER.glob("Dockerfile.*"), *DOCKER.glob("compose*.yaml")]
    named = [match[0] for path in files for match in NAMED.finditer(path.read_text()) if OWN not in match[0]]
    assert len(named) == 7
    assert [line for line in named if not DIGESTED.search(line)] == []


def test_images_that_are_built_here_stay() -> None:
    assert pinned("    image: rag-rec:0.1.0-cpu\n", lambda _: DIGEST) == "    image: rag-rec:0.1.0-cpu\n"
    assert pinned("FROM python:3.11 AS build\n", lambda _: DIGEST) == f"FROM python:3.11@{DIGEST} AS build\n"


def fake_docker(folder: Path, script: str) -> str:
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)
    return str(folder)


def test_the_digest_is_what_docker_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{fake_docker(tmp_path, f'echo {DIGEST}')}:/bin:/usr/bin")
    assert digest_of("python:3.11") == DIGEST


@pytest.mark.parametrize("script", ["exit 1", "echo sha256:12", "echo"])
def test_without_a_digest_nothing_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setenv("PATH", f"{fake_docker(tmp_path, script)}:/bin:/usr/bin")
    monkeypatch.setattr(tools.images, "DOCKER", tmp_path)
    (tmp_path / "Dockerfile.cpu").write_text("FROM python:3.11\n")
    assert main() == 1
    assert (tmp_path / "Dockerfile.cpu").read_text() == "FROM python:3.11\n"
