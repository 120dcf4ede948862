"""Looks for a person in the bytes of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a text was found: how often, in how many files, of how many that were read."""

    occurrences: int
    files: int
    scanned: int


def traces(text: str, *places: Path) -> Traces:
    """Occurrences of a text, as UTF-8 and as UTF-16, in every file under the places (files or folders)."""
    forms = {text.encode("utf-8"), text.encode("utf-16-le")}
    counts = [sum(content.count(form) for form in forms) for content in _contents(places)]
    return Traces(sum(counts), sum(count > 0 for count in counts), len(counts))


def _contents(places: tuple[Path, ...]) -> list[bytes]:
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    return [path.read_bytes() for path in files if path.is_file()]
