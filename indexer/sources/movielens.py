"""MovieLens 100K and 1M in their original layouts, as a folder or as the zip file that GroupLens offers.

Harper and Konstan (2015), The MovieLens Datasets: History and Context. Both are for research and may not be passed on.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from indexer.sources.batch import Batch, Kind
from indexer.sources.bounds import Lines, bounded
from indexer.sources.files import File, LineFile, opened
from indexer.sources.rows import NumberedRow, batches
from rag_rec.errors import InvalidInput

_ENCODING = "latin-1"
_TITLE = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})\)\s*\Z")
_GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_AGES_1M = {"1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55", "56": "56+"}
_OCCUPATIONS_1M = (
    "other or not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)

Columns = Mapping[str, list[str]]
Shape = Callable[[Columns], dict[str, list[Any]]]


@dataclass(frozen=True)
class Part:
    """One file of a data set: its possible names, how its lines are split, and how its columns become fields."""

    kind: Kind
    names: tuple[str, ...]
    separator: str
    columns: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class MovieLensSource(LineFile):
    """One part of a data set as a source of rows."""

    part: Part
    file: File
    typed: bool = True

    @property
    def kind(self) -> Kind:
        """What the rows are."""
        return self.part.kind

    def batches(self, size: int, skip: int = 0) -> Iterator[Batch]:
        """Batches in the product's own fields and attributes."""
        with self.file.text(_ENCODING) as stream:
            lines = Lines(stream, self.name)
            for batch in batches(self._split(lines), self.part.columns, size, skip, lines):
                yield Batch(batch.position, batch.lines, self.part.shape(batch.columns), batch.rejects)

    def _split(self, lines: Lines[str]) -> Iterator[NumberedRow]:
        separator = self.part.separator
        for number, line in enumerate(lines, 1):
            lines.row = 0
            yield number, line.rstrip("\r\n").split(separator)


def movielens_100k(path: Path) -> list[MovieLensSource]:
    """Items, users and ratings of MovieLens 100K."""
    return _sources(path, _PARTS_100K, "ml-100k")


def movielens_1m(path: Path) -> list[MovieLensSource]:
    """Items, users and ratings of MovieLens 1M."""
    return _sources(path, _PARTS_1M, "ml-1m")


def _sources(path: Path, parts: tuple[Part, ...], folder: str) -> list[MovieLensSource]:
    if path.is_dir():
        base = path / folder if (path / folder).is_dir() else path
        find = {
            name: File(name, _opener(base / name)) for part in parts for name in part.names if (base / name).is_file()
        }
    elif zipfile.is_zipfile(path):
        find = _members(path)
    else:
        raise InvalidInput(f"{path} is neither a folder nor a zip file; `rag-rec dataset fetch {folder}` gets one.")
    return [MovieLensSource(part, _found(find, part, path)) for part in parts]


def _found(files: Mapping[str, File], part: Part, path: Path) -> File:
    for name in part.names:
        if name in files:
            return files[name]
    raise InvalidInput(f"{path} has no {part.names[0]}; is it the data set that --format names?")


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: opened(path)


def _members(path: Path) -> dict[str, File]:
    """The members of a zip file by their name within the data set's folder."""

    def opener(member: str) -> Callable[[], BinaryIO]:
        # The stream keeps the archive's file open for as long as it is open itself.
        def open_member() -> BinaryIO:
            with zipfile.ZipFile(path) as archive:
                packed = archive.getinfo(member).compress_size
                return bounded(cast(BinaryIO, archive.open(member)), packed, member)

        return open_member

    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[-1]: File(name, opener(name)) for name in archive.namelist()}


def _ratings(columns: Columns) -> dict[str, list[Any]]:
    return {name: columns[name] for name in ("user_id", "item_id", "value", "time")}


def _items_100k(columns: Columns) -> dict[str, list[Any]]:
    flags = zip(*(columns[name] for name in _GENRES_100K), strict=True)
    genres = [[name for name, flag in zip(_GENRES_100K, row, strict=True) if flag == "1"] for row in flags]
    return _items(columns["item_id"], columns["title"], genres)


def _items_1m(columns: Columns) -> dict[str, list[Any]]:
    return _items(columns["item_id"], columns["title"], [genres.split("|") for genres in columns["genres"]])


def _items(ids: list[str], titles: list[str], genres: list[list[str]]) -> dict[str, list[Any]]:
    dated = [_TITLE.match(title) for title in titles]
    return {
        "item_id": ids,
        "text": [f"{title} | {', '.join(names)}" for title, names in zip(titles, genres, strict=True)],
        "title": [found["title"] if found else title for found, title in zip(dated, titles, strict=True)],
        "year": [int(found["year"]) if found else None for found in dated],
        "genres": genres,
    }


def _users_100k(columns: Columns) -> dict[str, list[Any]]:
    kept = {name: columns[name] for name in ("user_id", "gender", "occupation", "zip")}
    return {**kept, "age": [_whole(age) for age in columns["age"]]}


def _users_1m(columns: Columns) -> dict[str, list[Any]]:
    kept = {name: columns[name] for name in ("user_id", "gender", "zip")}
    return {
        **kept,
        "age": [_whole(age) for age in columns["age"]],
        "age_group": [_AGES_1M.get(age, age) for age in columns["age"]],
        "occupation": [_occupation(code) for code in columns["occupation"]],
    }


def _occupation(code: str) -> str:
    known = code.isdecimal() and int(code) < len(_OCCUPATIONS_1M)
    return _OCCUPATIONS_1M[int(code)] if known else code


def _whole(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


_PARTS_100K = (
    Part(
        Kind.ITEMS,
        ("u.item",),
        "|",
        ("item_id", "title", "released", "released on video", "address", *_GENRES_100K),
        _items_100k,
    ),
    Part(Kind.USERS, ("u.user",), "|", ("user_id", "age", "gender", "occupation", "zip"), _users_100k),
    Part(Kind.INTERACTIONS, ("u.data",), "\t", ("user_id", "item_id", "value", "time"), _ratings),
)
_PARTS_1M = (
    Part(Kind.ITEMS, ("movies.dat",), "::", ("item_id", "title", "genres"), _items_1m),
    Part(Kind.USERS, ("users.dat",), "::", ("user_id", "gender", "age", "occupation", "zip"), _users_1m),
    Part(
        Kind.INTERACTIONS,
        ("ratings.dat", "derived/ratings_known.dat.gz"),
        "::",
        ("user_id", "item_id", "value", "time"),
        _ratings,
    ),
)
