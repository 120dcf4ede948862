"""A small file cannot fill the memory, and a large one needs no more of it than a small one."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from indexer.sources import bounds, jsonl
from indexer.sources.batch import Kind, Source
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from indexer.sources.jsonl import JsonlSource
from indexer.sources.movielens import movielens_100k
from rag_rec.errors import InvalidInput
from rag_rec.store import SqlStore, open_store
from tests.indexer.ingesting import csv_source, ingest, jsonl_source

MIB = 1 << 20
BOMB_MIB = 400

READ = """
import resource, sys
from indexer.sources.batch import Kind
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from indexer.sources.jsonl import JsonlSource
from rag_rec.errors import InvalidInput
from pathlib import Path
source = {"csv": CsvSource, "jsonl": JsonlSource}[sys.argv[2]](File.at(Path(sys.argv[1])), Kind.ITEMS)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source.digest
    for batch in source.batches(100_000): pass
    print("read", end=" ")
except InvalidInput as error:
    print("refused", end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    yield store
    store.close()


def packed(path: Path, first: bytes, filling: bytes, mib: int) -> Path:
    """A gzip file of ``first`` and so many mebibytes of ``filling``."""
    block = filling * (MIB // len(filling))
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(first)
        for _ in range(mib):
            stream.write(block)
    return path


def reading(path: Path, file_format: str) -> tuple[str, int]:
    """Whether a file was read or refused by a process of its own, and by how many MiB the process grew."""
    done = subprocess.run([sys.executable, "-c", READ, path, file_format], capture_output=True, text=True, check=True)
    outcome, grown = done.stdout.split()
    return outcome, int(grown)


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("filling", [b"a", b"a,b\n"])
def test_a_small_archive_that_unpacks_to_very_much_is_refused_in_little_memory(
    tmp_path: Path, file_format: str, filling: bytes
) -> None:
    path = packed(tmp_path / "bomb.gz", b"item_id,text\n", filling, BOMB_MIB)
    assert path.stat().st_size < 2 * MIB
    outcome, grown = reading(path, file_format)
    assert outcome == "refused"
    assert grown < 150


def test_a_file_a_hundred_times_as_large_is_read_in_the_same_memory(tmp_path: Path) -> None:
    row = b'{"item_id": "%d", "text": "%s"}\n'
    sizes = {}
    for rows in (2_000, 200_000):
        with gzip.open(tmp_path / "items.gz", "wb", compresslevel=1) as stream:
            for at in range(rows):
                stream.write(row % (at, str(at**7).encode() * 30))
        outcome, sizes[rows] = reading(tmp_path / "items.gz", "jsonl")
        assert outcome == "read"
    assert sizes[200_000] < sizes[2_000] + 400  # 64 MiB of rows as objects, not 250


def test_a_zip_of_a_data_set_that_unpacks_to_very_much_is_refused(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("u.item", "u.user", "u.data"):
            with archive.open(f"ml-100k/{name}", "w") as member:
                for _ in range(100):
                    member.write(b"1\t2\t3\t4\n" * (MIB // 8))
    with pytest.raises(InvalidInput, match="unpacks to more than 200 times its size"):
        ingest(store, movielens_100k(path)[2], tmp_path / "r", rows=100_000)
    assert store.counts().users == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda path: csv_source(path, "item_id,text\ni0,title\ni1," + "a" * (5 * MIB), Kind.ITEMS),
        lambda path: csv_source(path, "item_id,text\ni0,title\ni1" + f',"{"a" * (MIB // 2)}\n"' * 10, Kind.ITEMS),
        lambda path: jsonl_source(path, [{"item_id": "i0", "text": "t"}, '{"a":' * MIB], Kind.ITEMS),
    ],
    ids=["csv", "csv of many lines", "jsonl"],
)
def test_a_row_without_end_is_refused(store: SqlStore, tmp_path: Path, make: Callable[[Path], Source]) -> None:
    with pytest.raises(InvalidInput, match="a row of more than 4 MiB"):
        ingest(store, make(tmp_path / "f"), tmp_path / "r", rows=1)


def test_a_header_of_very_many_columns_is_refused(tmp_path: Path) -> None:
    source = csv_source(tmp_path / "f", ",".join(map(str, range(1001))) + "\n")
    with pytest.raises(InvalidInput, match="more than 1000 columns"):
        next(source.batches(10))


def test_an_object_of_very_many_names_is_a_rejected_row(tmp_path: Path) -> None:
    source = jsonl_source(tmp_path / "f", [{str(n): 1 for n in range(1001)}, {"a": 1}])
    batch = next(source.batches(10))
    assert [(reject.line, reject.reason) for reject in batch.rejects] == [(1, "has more than 1000 names")]
    assert batch.columns == {"a": [1]}


def test_objects_that_share_no_name_come_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MOST_CELLS", 50)
    rows = [{f"name {n}": n} for n in range(40)]
    found = list(jsonl_source(tmp_path / "f", rows).batches(1000))
    assert all(len(batch.lines) * len(batch.columns) <= 50 for batch in found)
    assert [line for batch in found for line in batch.lines] == list(range(1, 41))
    assert found[-1].position == 40


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("skip", [0, 5])
def test_batches_of_long_rows_end_early_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, skip: int
) -> None:
    monkeypatch.setattr(bounds, "LARGEST_BATCH", 100)
    texts = ["t" * (7 * n % 60) for n in range(30)]
    rows = [{"item_id": str(n), "text": text} for n, text in enumerate(texts)]
    (tmp_path / "c").write_text("item_id,text\n" + "".join(f"{row['item_id']},{row['text']}\n" for row in rows))
    (tmp_path / "j").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    for source in (CsvSource(File.at(tmp_path / "c"), Kind.ITEMS), JsonlSource(File.at(tmp_path / "j"), Kind.ITEMS)):
        found = list(source.batches(size, skip))
        assert [text for batch in found for text in batch.columns["text"]] == texts[skip:]
        assert all(sum(map(len, batch.columns["text"])) <= 200 for batch in found)
        assert [batch.position for batch in found][-1] == 30
        assert len(found) > 5
