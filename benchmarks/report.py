"""Writes a benchmark's rows with everything a reader needs to reproduce them."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import psutil

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


def write_results(
    name: str, rows: Sequence[Row], seed: int, per_dataset: Mapping[str, Sequence[Row]] | None = None
) -> Path:
    """Write ``benchmarks/results/NAME.json``.

    ``rows`` is the headline; ``per_dataset`` adds one list of rows under each data set's name.
    """
    document: dict[str, Any] = {
        "commit": _commit(),
        "hardware": _hardware(),
        "command": f"python -m benchmarks.{name}" + "".join(f" {argument}" for argument in sys.argv[1:]),
        "seed": seed,
        "rows": list(rows),
        **{dataset: list(listed) for dataset, listed in (per_dataset or {}).items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    return path


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
