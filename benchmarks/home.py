"""Data folders with a benchmark set ingested and indexed, made once by the real commands and shared by the benchmarks.

They lie under ``.bench/`` beside the code, which git ignores. One made by other code than the present is made again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import orjson

from demo.service import Commands, RunningService

ROOT = Path(__file__).parents[1]
BENCH = ROOT / ".bench"
KEY = "key-of-the-benchmark"
ENVIRONMENT = {"RAGREC_API_KEYS": orjson.dumps({KEY: ["admin"]}).decode()}
NOTE = "prepared.json"
MAKERS = ("rag_rec/candidates", "rag_rec/store", "rag_rec/vectors", "rag_rec/index/generation.py", "indexer")
"""The code that decides what is in a home."""
POSITIVE = 4  # stars from which on a rating is positive; lower ones are incomplete in the derived ML-1M


def data_folder(dataset: str) -> Path:
    """The folder of a benchmark set: below RAGREC_DATA, or ``../shared/data`` beside the code.

    Raises:
        SystemExit: it is not there.
    """
    base = Path(os.environ.get("RAGREC_DATA", ROOT.parent / "shared" / "data"))
    folder = base / dataset
    if not folder.is_dir():
        sys.exit(f"The data set {dataset} is not at {folder}; set RAGREC_DATA to the folder that holds it.")
    return folder


def prepared_home(dataset: str) -> Path:
    """A home (``RAGREC_HOME``) with ``ml-1m`` (ratings of 4 and 5 stars) or ``ml-100k`` ingested and indexed.

    It is shared: a benchmark that changes it works on :func:`copied_home`.
    """
    home = BENCH / dataset / "home"
    if not is_current(home):
        with building(home) as unfinished:
            source = unfinished.parent / "source"
            _write_source(dataset, source)
            build_home(unfinished, source, f"movielens-{dataset.removeprefix('ml-')}")
    return home


def build_home(home: Path, source: Path, layout: str) -> None:
    """Ingest ``source`` and build an index generation, by the commands; note how long both took."""
    commands = Commands(home, ENVIRONMENT)
    started = perf_counter()
    ingested = commands.run("ingest", str(source), "--format", layout)
    between = perf_counter()
    built = commands.run("index", "build")
    seconds = {"ingest": between - started, "build": perf_counter() - between}
    note = {"code": _code_digest(), "seconds": seconds, "ingested": ingested, "built": built}
    (home.parent / NOTE).write_bytes(orjson.dumps(note, option=orjson.OPT_INDENT_2))


def is_current(home: Path) -> bool:
    """Whether a home is there and was made by the present code."""
    note = home.parent / NOTE
    return home.is_dir() and note.is_file() and orjson.loads(note.read_bytes())["code"] == _code_digest()


def _code_digest() -> str:
    digest = hashlib.sha256()
    for maker in MAKERS:
        path = ROOT / maker
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def building(home: Path) -> Iterator[Path]:
    """A fresh folder that becomes ``home`` once it is complete; what an interrupted run left behind is removed."""
    shutil.rmtree(home.parent, ignore_errors=True)
    unfinished = home.with_name("unfinished")
    unfinished.mkdir(parents=True)
    (BENCH / ".gitignore").write_text("*\n")
    yield unfinished
    unfinished.rename(home)


@contextmanager
def copied_home(dataset: str) -> Iterator[Path]:
    """A copy of :func:`prepared_home` that may be changed; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        copy = Path(folder) / "home"
        shutil.copytree(prepared_home(dataset), copy)
        yield copy


@contextmanager
def running_service(home: Path, **settings: str) -> Iterator[str]:
    """``rag-rec serve`` on a home, ready to answer; yields its URL. Every key but :data:`KEY` is refused."""
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        commands = Commands(home, {**ENVIRONMENT, **settings})
        with RunningService(commands, Path(folder) / "service.log") as service:
            yield service.wait_until_ready()


def user_ids(dataset: str) -> list[str]:
    """The users of a prepared home, in order of their numbers."""
    prepared_home(dataset)
    ratings = BENCH / dataset / "source" / ("u.data" if dataset == "ml-100k" else "ratings.dat")
    separator = "\t" if dataset == "ml-100k" else "::"
    with ratings.open() as lines:
        return sorted({line.split(separator, 1)[0] for line in lines}, key=int)


def _write_source(dataset: str, folder: Path) -> None:
    """The data set in its original layout."""
    data = data_folder(dataset)
    if dataset == "ml-100k":
        shutil.copytree(data, folder)
        return
    folder.mkdir()
    for name in ("users.dat", "movies.dat"):
        shutil.copyfile(data / name, folder / name)
    with (
        gzip.open(data / "derived" / "ratings_known.dat.gz", "rt") as known,
        (folder / "ratings.dat").open("w") as out,
    ):
        out.writelines(line for line in known if int(line.split("::")[2]) >= POSITIVE)
