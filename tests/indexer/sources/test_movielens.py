"""MovieLens in its original layouts: small files of the same shape, and the real ones where they are."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from indexer.sources.movielens import movielens_1m, movielens_100k
from rag_rec.domain import AttributeValue, Interaction, Item, User
from rag_rec.errors import InvalidInput
from rag_rec.store import SqlStore, open_store
from rag_rec.store.records import Counts
from tests.indexer.ingesting import ingest, rejected

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FILES_100K = {
    "u.item": "7|Amélie (2001)|01-Jan-2001||http://x|"
    + "|".join("0010010000000000000")
    + "\n8|unknown||||1"
    + "|0" * 18,
    "u.user": "1|24|M|technician|85711\n2|x|F|other|T8H1N\n",
    "u.data": "1\t7\t5\t881250949\n2\t8\t1\t881250950\n2\t9\t1\t881250950\n",
}
FILES_1M = {
    "movies.dat": "1::Toy Story (1995)::Animation|Children's\n2::Café::Drama\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::99::55117\n",
    "ratings.dat": "1::1::5::978300760\n2::2::3::978300761\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="latin-1")
    return folder


def pack(path: Path, folder: str, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content.encode("latin-1"))
    return path


@pytest.fixture
def empty(tmp_path: Path) -> SqlStore:
    return open_store(f"sqlite:///{tmp_path / 'home' / 'empty.sqlite3'}")


@pytest.mark.parametrize("layout", ["folder", "folder above", "zip"])
def test_movielens_100k(empty: SqlStore, tmp_path: Path, layout: str) -> None:
    if layout == "zip":
        path = pack(tmp_path / "x.zip", "ml-100k", FILES_100K)
    else:
        folder = write(tmp_path / "data" / "ml-100k", FILES_100K)
        path = folder if layout == "folder" else folder.parent
    for source in movielens_100k(path):
        ingest(empty, source, tmp_path / str(source.kind))
    amelie: dict[str, AttributeValue] = {"title": "Amélie", "year": 2001, "genres": ("Adventure", "Comedy")}
    assert list(empty.items()) == [
        Item("7", "Amélie (2001) | Adventure, Comedy", amelie),
        Item("8", "unknown | unknown", {"title": "unknown", "genres": ("unknown",)}),
    ]
    assert empty.user("1") == (0, User("1", {"age": 24, "gender": "M", "occupation": "technician", "zip": "85711"}))
    assert empty.interactions(0)[0].interaction == Interaction("1", "7", 881_250_949_000, "rating", 5.0)
    assert rejected(tmp_path / "interactions") == [(3, "item_id: is not in the catalogue")]
    empty.close()


@pytest.mark.parametrize("ratings", ["ratings.dat", "derived/ratings_known.dat.gz"])
def test_movielens_1m(empty: SqlStore, tmp_path: Path, ratings: str) -> None:
    folder = write(tmp_path / "ml-1m", FILES_1M)
    if ratings != "ratings.dat":
        (folder / "derived").mkdir()
        (folder / ratings).write_bytes(gzip.compress((folder / "ratings.dat").read_bytes()))
        (folder / "ratings.dat").unlink()
    for source in movielens_1m(folder):
        ingest(empty, source, tmp_path / "r")
    toys: dict[str, AttributeValue] = {"title": "Toy Story", "year": 1995, "genres": ("Animation", "Children's")}
    assert empty.item("1") == (0, Item("1", "Toy Story (1995) | Animation, Children's", toys))
    assert empty.item("2") == (1, Item("2", "Café | Drama", {"title": "Café", "genres": ("Drama",)}))
    people = [empty.user(name) for name in ("1", "2")]
    assert [found[1].attributes for found in people if found] == [
        {"age": 1, "age_group": "under 18", "gender": "F", "occupation": "K-12 student", "zip": "48067"},
        {"age": 56, "age_group": "56+", "gender": "M", "occupation": "99", "zip": "55117"},
    ]
    assert empty.interactions(1)[0].interaction == Interaction("2", "2", 978_300_761_000, "rating", 3.0)
    empty.close()


def test_what_is_no_movielens_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "ml-1m", FILES_1M)
    with pytest.raises(InvalidInput, match=r"has no u\.item"):
        movielens_100k(folder)
    with pytest.raises(InvalidInput, match="neither a folder nor a zip file"):
        movielens_1m(folder / "movies.dat")


@pytest.mark.parametrize("name", ["ml-100k", "ml-1m"])
def test_the_real_files(empty: SqlStore, tmp_path: Path, name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not in {DATA.name}/")
    sources = movielens_100k(DATA / name) if name == "ml-100k" else movielens_1m(DATA / name)
    for source in sources:
        assert ingest(empty, source, tmp_path / "r", rows=100_000).rejected == 0
    expected = {"ml-100k": Counts(943, 1682, 100_000), "ml-1m": Counts(6040, 3883, 663_062)}
    assert empty.counts() == expected[name]
    empty.close()
