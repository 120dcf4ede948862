"""Reads the benchmark sets: positive histories in order, and the text of every item.

The sets may not be redistributed, so they are read from a folder: ``RAGREC_DATA``, or ``../shared/data`` beside the
project.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from rag_rec.events.history import HISTORY_DTYPE, History, PositiveRule
from rag_rec.events.rule import POSITIVE as LIKED
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

NAMES: Final = ("ml-1m", "ml-100k", "amazon-books", "amazon-games")
FORGET_SETS: Final = ("core", "edge")
POSITIVE: Final = 4
AGES: Final = (25, 35, 50)
_USERS: Final = {"ml-1m": ("ml-1m/users.dat", "::", 1, 2), "ml-100k": ("ml-100k/u.user", "|", 2, 1)}
"""File, separator, and the columns of gender and age."""


class DataMissing(Exception):
    """A benchmark set is not on this machine."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One data set.

    Attributes:
        name: one of :data:`NAMES`.
        histories: (user number, positive history) of everybody, each item once.
        texts: title of each item, with genres where there are any.
        least: users with fewer positives than this are not asked.
    """

    name: str
    histories: list[tuple[int, History]]
    texts: list[str]
    least: int

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.texts)


def folder() -> Path:
    """Where the sets are."""
    return Path(os.environ.get("RAGREC_DATA") or Path(__file__).parents[2] / "shared" / "data")


def read(name: str) -> Benchmark:
    """Read a set. Raises ``DataMissing`` with the reason when it is not there."""
    if name not in _READERS:
        raise DataMissing(f"There is no benchmark set named {name!r}: choose from {', '.join(NAMES)}.")
    try:
        return _READERS[name](folder())
    except FileNotFoundError as error:
        raise DataMissing(f"{name} is not in {folder()} ({error.filename}): set RAGREC_DATA to its folder.") from None


def read_or_exit(name: str) -> Benchmark:
    """Read a set, or end the program with the reason when it is not there."""
    try:
        return read(name)
    except DataMissing as missing:
        sys.exit(f"skipped: {missing}")


def item_vectors(texts: Sequence[str], threads: int = 1) -> npt.NDArray[np.float32]:
    """Unit vectors of item texts by the default embedding model, kept in the system's folder for temporary files."""
    settings = Settings()
    embedder = open_embedder(settings.embedding_model, threads)
    key = hashlib.sha256("\0".join([embedder.digest, *texts]).encode()).hexdigest()[:24]
    path = Path(tempfile.gettempdir()) / "rag-rec-benchmarks" / f"{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, embedder.embed(texts))
        unfinished.replace(path)
    vectors: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return vectors


def user_groups(benchmark: Benchmark, positions: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """Groups of the users at these positions of ``histories`` by gender and age, where the set tells them."""
    if benchmark.name not in _USERS:
        return {}
    file, separator, gender, age = _USERS[benchmark.name]
    rows = {int(row[0]): row for row in (line.split(separator) for line in _lines(folder() / file, "latin-1"))}
    chosen = [rows[benchmark.histories[position][0]] for position in positions.tolist()]
    ages = np.digitize([int(row[age]) for row in chosen], AGES)
    return {"gender": np.array([row[gender] == "F" for row in chosen]).astype(np.int64), "age": ages}


def forget_set(name: str) -> list[int]:
    """The users of ML-100K in a set of CURE4Rec to be forgotten: the 5 % with the most ratings, or with the fewest.

    See "CURE4Rec: A Benchmark for Recommendation Unlearning with Deeper Influence", NeurIPS 2024, arXiv 2408.14393.

    Args:
        name: one of :data:`FORGET_SETS`.

    Raises:
        DataMissing: the set is not on this machine.
    """
    root = folder() / "cure4rec" / "ml-100k"
    try:
        raw = dict(line.split(",") for line in _lines(root / "derived_uid_to_raw_user.csv", "ascii")[1:])
        rows = _lines(root / "unlearn_set" / f"{name}_data_5%.csv", "ascii")[1:]
    except FileNotFoundError as error:
        raise DataMissing(f"The sets of CURE4Rec are not in {folder()} ({error.filename}): set RAGREC_DATA.") from None
    return sorted({int(raw[row.split(",")[0]]) for row in rows})


def _ml_1m(root: Path) -> Benchmark:
    movies = [line.split("::") for line in _lines(root / "ml-1m" / "movies.dat", "latin-1")]
    texts = {int(movie): f"{title} {genres.replace('|', ', ')}" for movie, title, genres in movies}
    rows = np.array(
        [line.split("::") for line in _lines(root / "ml-1m" / "derived" / "ratings_known.dat.gz", "ascii")],
        dtype=np.int64,
    )
    return _movielens("ml-1m", rows, texts)


def _ml_100k(root: Path) -> Benchmark:
    genres = [line.split("|")[0] for line in _lines(root / "ml-100k" / "u.genre", "latin-1")]
    texts = {}
    for line in _lines(root / "ml-100k" / "u.item", "latin-1"):
        movie, title, *_, flags = line.split("|", 5)
        named = (genre for genre, flag in zip(genres, flags.split("|"), strict=False) if flag == "1")
        texts[int(movie)] = f"{title} {', '.join(named)}"
    rows = np.array([line.split("\t") for line in _lines(root / "ml-100k" / "u.data", "ascii")], dtype=np.int64)
    return _movielens("ml-100k", rows, texts)


def _movielens(name: str, rows: npt.NDArray[np.int64], texts: dict[int, str]) -> Benchmark:
    """Rows are user, movie, rating, seconds, in the order of the file, which is the order of equal times."""
    numbers = {movie: number for number, movie in enumerate(texts)}
    liked = rows[rows[:, 2] >= POSITIVE]
    liked = liked[np.argsort(liked[:, 3], kind="stable")]
    items = np.array([numbers[movie] for movie in liked[:, 1].tolist()])
    return Benchmark(name, _histories(liked[:, 0], items, liked[:, 3] * 1000), list(texts.values()), least=5)


def _amazon_books(root: Path) -> Benchmark:
    base = root / "amazon-books-msl"
    titles: dict[str, str] = json.loads((base / "id2name4Rec.json").read_text())
    return _amazon("amazon-books", base, {int(item): title for item, title in titles.items()})


def _amazon_games(root: Path) -> Benchmark:
    base = root / "amazon-games-llmrank"
    lines = [line.split("\t", 1) for line in _lines(base / "Games-6k.item", "utf-8")[1:]]
    return _amazon("amazon-games", base, {int(item): title for item, title in lines})


def _amazon(name: str, base: Path, texts: dict[int, str]) -> Benchmark:
    """All interactions, by position: these sets have no or few times."""
    content = gzip.decompress((base / "derived" / "interactions.csv.gz").read_bytes())
    frame = pl.read_csv(content, columns=["user_id", "position", "item_id"]).sort("user_id", "position")
    numbers = {item: number for number, item in enumerate(texts)}
    items = np.array([numbers[item] for item in frame["item_id"].to_list()])
    users, position = frame["user_id"].to_numpy(), frame["position"].to_numpy()
    return Benchmark(name, _histories(users, items, position * 1000), list(texts.values()), least=3)


def _histories(
    users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], times: npt.NDArray[np.int64]
) -> list[tuple[int, History]]:
    """Histories by user number from rows in order; an item that occurs again counts at its last place."""
    order = np.argsort(users, kind="stable")
    rows = np.zeros(len(users), dtype=HISTORY_DTYPE)
    rows["interaction"], rows["item"], rows["time"] = np.arange(len(users)), items[order], times[order]
    numbers, starts = np.unique(users[order], return_index=True)
    rule = PositiveRule({"choice": LIKED})
    parts = np.split(rows, starts[1:])
    return [(int(user), rule.positives(part, ["choice"])) for user, part in zip(numbers, parts, strict=True)]


def _lines(path: Path, encoding: str) -> list[str]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode(encoding).splitlines()


_READERS: dict[str, Callable[[Path], Benchmark]] = {
    "ml-1m": _ml_1m,
    "ml-100k": _ml_100k,
    "amazon-books": _amazon_books,
    "amazon-games": _amazon_games,
}
