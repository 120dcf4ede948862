"""Writes the tables of the pages in ``docs/`` that have any from ``benchmarks/results/*.json``.

``python -m tools.figures`` replaces what stands behind each marker ``figures: NAME.json``. A test compares the pages
with the results, so that no figure is ever typed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("benchmarks", "forgetting", "unlearning", "debiasing"))
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- figures: (\w+)\.json -->\n).*?(<!-- end of figures -->)", re.DOTALL)
HEADER = {"commit", "hardware", "command", "seed", "rows", "runs"}
LEFT_OUT = {"draws", "settings"}  # nested; they stay in the JSON file
SPARSE = 0.4  # rows that share fewer of their columns than this are listed one below the other

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
        parts += [f"**{title}**{_run(document, title)}"] if title else []
        parts += ["\n".join(_table(rows))]
    return "\n\n".join(parts)


def _origin(document: Mapping[str, Any]) -> str:
    machine = document["hardware"]
    return (
        f"`{document['command']}`, commit `{document['commit']}`, seed {document['seed']}; "
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}."
    )


def _run(document: Mapping[str, Any], dataset: str) -> str:
    """Where the rows of a data set came from, if it is not where the document did."""
    run = document.get("runs", {}).get(dataset, document)
    if run["commit"] == document["commit"] and run["command"] == document["command"]:
        return ""
    return f", by `{run['command']}`, commit `{run['commit']}`"


def _table(rows: Sequence[Row]) -> Iterable[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row if column not in LEFT_OUT))
    if sum(len(row.keys() - LEFT_OUT) for row in rows) < SPARSE * len(rows) * len(columns):
        yield from _list(rows)
        return
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(column)) for column in columns) + " |"


def _list(rows: Sequence[Row]) -> Iterable[str]:
    """One line for each row: its name, and what was measured."""
    yield "| name | measured |"
    yield "|---|---|"
    for row in rows:
        measured = [f"{column} {_cell(row[column])}" for column in row if column not in LEFT_OUT | {"name"}]
        yield f"| {row['name']} | {'; '.join(measured)} |"


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
    """Write the pages anew."""
    for path in PAGES:
        path.write_text(page(path.read_text()))


if __name__ == "__main__":
    main()
