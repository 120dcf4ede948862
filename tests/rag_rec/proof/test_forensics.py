"""The scan for what is left of a person finds every form and every place."""

from __future__ import annotations

from pathlib import Path

from rag_rec.proof.forensics import Traces, traces


def test_counts_occurrences_in_files_and_folders_in_both_encodings(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "one.bin").write_bytes(b"\0viewer-7\xffviewer-7")
    (tmp_path / "deep" / "two.bin").write_bytes("viewer-7".encode("utf-16-le"))
    (tmp_path / "deep" / "clean.bin").write_bytes(b"viewer-8")
    log = tmp_path / "service.log"
    log.write_bytes(b"nobody")
    assert traces("viewer-7", tmp_path / "deep", log) == Traces(occurrences=3, files=2, scanned=4)


def test_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    assert traces("viewer-7", tmp_path, tmp_path / "missing") == Traces(0, 0, 0)
