"""Writes a benchmark's rows with everything a reader needs to reproduce them."""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


def without_options(description: str | None) -> None:
    """Read the command line of a benchmark that has no options: answer ``--help``, and refuse anything else."""
    argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()


def write_results(
    name: str, rows: Sequence[Row], seed: int, per_dataset: Mapping[str, Sequence[Row]] | None = None
) -> Path:
    """Write ``benchmarks/results/NAME.json``.

    ``rows`` is the headline; ``per_dataset`` adds one list of rows under each data set's name. Rows of a data set that
    are those of the earlier file keep the commit and the command that they came from, under ``runs``.
    """
    path = RESULTS / f"{name}.json"
    command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    document: dict[str, Any] = {
        "commit": _commit(),
        "hardware": _hardware(),
        "command": command,
        "seed": seed,
        "rows": list(rows),
        **{dataset: list(listed) for dataset, listed in (per_dataset or {}).items()},
    }
    if per_dataset:
        before = orjson.loads(path.read_bytes()) if path.exists() else {}
        document["runs"] = {dataset: _run(dataset, document, before) for dataset in per_dataset}
    RESULTS.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    return path


def _run(dataset: str, document: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """The commit and the command that the rows of a data set came from."""
    same = orjson.loads(orjson.dumps(document[dataset], option=orjson.OPT_SERIALIZE_NUMPY)) == before.get(dataset)
    source = before.get("runs", {}).get(dataset, before) if same else document
    return {key: source[key] for key in ("commit", "command")}


def earlier(name: str, datasets: Sequence[str] | None = None) -> dict[str, Sequence[Row]]:
    """The rows of these data sets in ``benchmarks/results/NAME.json``, those that are there; None for every table that
    the file knows the run of."""
    path = RESULTS / f"{name}.json"
    document = orjson.loads(path.read_bytes()) if path.exists() else {}
    asked = document.get("runs", {}) if datasets is None else datasets
    return {dataset: document[dataset] for dataset in asked if dataset in document}


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False).stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD") or "unknown"
    changed = [line for line in git("status", "--porcelain").splitlines() if "benchmarks/results/" not in line]
    return revision + ("+changes" if changed else "")


def _hardware() -> dict[str, object]:
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
