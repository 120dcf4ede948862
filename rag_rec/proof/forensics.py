"""Looks for a person in the bytes of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Traces:
    """What was found: how often, in how many files, of how many that were read."""

    occurrences: int
    files: int
    scanned: int


def traces(text: str, *places: Path) -> Traces:
    """Occurrences of a text, as UTF-8 and as UTF-16, in every file under the places (files or folders)."""
    return traces_of(marks_of(text), *places)


def marks_of(text: str) -> list[bytes]:
    """The bytes that a text may stand as."""
    return [text.encode("utf-8"), text.encode("utf-16-le")]


def traces_of(marks: Sequence[bytes], *places: Path) -> Traces:
    """Occurrences of any of some byte sequences in every file under the places (files or folders)."""
    counts = [sum(content.count(mark) for mark in set(marks)) for content in _contents(places)]
    return Traces(sum(counts), sum(count > 0 for count in counts), len(counts))


def _contents(places: Sequence[Path]) -> Iterator[bytes]:
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file():
                yield path.read_bytes()
