"""Writes the tables of ``docs/benchmarks.md`` from ``benchmarks/results/*.json``.

``python -m tools.figures`` replaces what stands behind each marker ``figures: NAME.json``. A test compares the page
with the results, so that no figure is ever typed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- figures: (\w+)\.json -->\n).*?(<!-- end of figures -->)", re.DOTALL)
HEADER = {"commit", "hardware", "command", "seed", "rows", "runs"}
LEFT_OUT = {"settings"}  # nested; they stay in the JSON file

Row = Mapping[str, Any]


def page(text: str) -> str:
    """The page with every marked part written anew."""
    return MARKED.sub(lambda found: f"{found[1]}\n{_section(found[2])}\n\n{found[3]}", text)


def _section(name: str) -> str:
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return "Not measured yet."
    document = orjson.loads(path.read_bytes())
    datasets = [(key, rows) for key, rows in document.items() if key not in HEADER]
    tables = datasets or [("", document["rows"])]
    parts = [_origin(document)]
    for title, rows in tables:
        parts += [f"**{title}**"] if title else []
        parts += ["\n".join(_table(rows))]
    return "\n\n".join(parts)


def _origin(document: Mapping[str, Any]) -> str:
    machine = document["hardware"]
    return (
        f"`{document['command']}`, commit `{document['commit']}`, seed {document['seed']}; "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}."
    )


def _table(rows: Sequence[Row]) -> Iterable[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row if column not in LEFT_OUT))
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(column)) for column in columns) + " |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(map(_cell, value)) if len(value) == 2 else ", ".join(map(_cell, value))
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
