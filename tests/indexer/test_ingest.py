"""Ingest: what is stored, what is rejected, and that repeating or killing it does no harm."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from indexer.ingest import Reading
from indexer.sources.batch import Kind
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from indexer.sources.parquet import ParquetSource
from indexer.times import TimeUnit
from rag_rec.domain import AttributeValue, Interaction, Item, User
from rag_rec.errors import InvalidInput
from rag_rec.store import SqlStore, open_store
from rag_rec.store.records import Counts
from tests.indexer.ingesting import csv_source, ingest, jsonl_source, rejected
from tests.rag_rec.store.erasing import chained, erasure_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS

HEADER = "user_id,item_id,event,value,text,time\n"


def stored(store: SqlStore) -> list[Interaction]:
    return [row.interaction for user, _ in store.histories() for row in store.interactions(user)]


def test_rows_of_a_csv_file_become_interactions(store: SqlStore, tmp_path: Path) -> None:
    content = HEADER + 'u,i0,rating,4.5,,1000\nu,i1,,,"two\nlines, quoted",1001\nv,i0,view,,,2001-09-09T01:46:40Z\n'
    result = ingest(store, csv_source(tmp_path / "f.csv", content), tmp_path / "r")
    assert (result.accepted, result.duplicates, result.rejected) == (3, 0, 0)
    assert stored(store) == [
        Interaction("u", "i0", 1_000_000, "rating", 4.5),
        Interaction("u", "i1", 1_001_000, "interaction", None, "two\nlines, quoted"),
        Interaction("v", "i0", 1_000_000_000_000, "view"),
    ]
    assert not (tmp_path / "r").exists()


def test_bad_rows_are_listed_by_line_and_reason_and_the_rest_goes_in(store: SqlStore, tmp_path: Path) -> None:
    rows = [
        "u,i0,rating,5,,1",  # line 2
        ",i0,rating,5,,2",
        "u,nowhere,rating,5,,3",
        "u,i0,rating,five,,4",
        "u,i0,rating,nan,,5",
        "u,i0,rating,5,,yesterday",
        "u,i0,rating,5,,",
        "u,i0,rating,5,,4000000000",
        "u,i0,rating,5",
        'u,i0,rating,5,"a"b,11',
        "u\x07,i0,rating,5,,12",
        "",
        "u,i1,rating,5,,14",  # line 14
        "u,i1,rating,5,,-1",
    ]
    result = ingest(store, csv_source(tmp_path / "f.csv", HEADER + "\n".join(rows)), tmp_path / "r", rows=4)
    assert rejected(tmp_path / "r") == [
        (3, "user_id: is empty"),
        (4, "item_id: is not in the catalogue"),
        (5, "value: is not a number"),
        (6, "value: is not a finite number"),
        (7, "time: is neither seconds, milliseconds nor ISO 8601"),
        (8, "time: is empty"),
        (9, "time: lies in the future"),
        (10, "has 4 columns instead of 6"),
        (11, "is not CSV: ',' expected after '\"'"),
        (12, "user_id: contains a control character"),
        (15, "time: is outside 1970..9999 (milliseconds are expected)"),
    ]
    assert (result.accepted, result.rejected, result.rejects) == (2, 11, tmp_path / "r")
    assert [row.time for row in stored(store)] == [1000, 14_000]


def test_rows_about_the_forgotten_are_left_out_counted_and_listed_nowhere(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}", pseudonyms=PSEUDONYMS)
    store.put_items([Item("i0", "title"), Item("i1", "title")])
    store.append([Interaction("gone", "i0", 1), Interaction("u", "i0", 1000)])
    store.accept([erasure_of(store, "gone", None, "r1"), erasure_of(store, "u", [1], "r2")], chained)
    rows = ["gone,i1,,,,5", "u,i0,,,,1", "u,i0,,,,2", ",i0,,,,3"] * 3  # in several batches
    events = csv_source(tmp_path / "f.csv", HEADER + "\n".join(rows))
    result = ingest(store, events, tmp_path / "r")
    assert (result.accepted, result.duplicates, result.suppressed, result.rejected) == (1, 2, 6, 3)
    assert rejected(tmp_path / "r") == [(line, "user_id: is empty") for line in (5, 9, 13)]
    people = csv_source(tmp_path / "users.csv", "user_id,age\ngone,30\nu,31\ngone,32\n", Kind.USERS)
    result = ingest(store, people, tmp_path / "r2", rows=1)
    assert (result.accepted, result.duplicates, result.suppressed, result.rejected) == (1, 0, 2, 0)
    assert not (tmp_path / "r2").exists()
    assert store.user("gone") is None
    assert stored(store) == [Interaction("u", "i0", 2000, "interaction")]
    store.close()


def test_bytes_that_are_no_utf8_are_a_bad_row(store: SqlStore, tmp_path: Path) -> None:
    content = HEADER.encode() + b"u,i0,rating,5,caf\xe9,1\n\xc3\xbc,i0,rating,5,,2\n"
    ingest(store, csv_source(tmp_path / "f.csv", content), tmp_path / "r")
    assert rejected(tmp_path / "r") == [(2, "is not valid UTF-8")]
    assert [row.user_id for row in stored(store)] == ["ü"]


def test_json_lines_may_differ_in_their_names_and_have_types(store: SqlStore, tmp_path: Path) -> None:
    rows: list[object] = [
        {"user_id": 7, "item_id": "i0", "time": 1_000_000_000_123, "value": 3},
        {"user_id": "u", "item_id": "i1", "time": 12.5, "event": "view", "extra": {"a": 1}},
        "{broken",
        "[1]",
        {"user_id": True, "item_id": "i0", "time": 1},
        {"user_id": "u", "item_id": "i0"},
    ]
    ingest(store, jsonl_source(tmp_path / "f", rows), tmp_path / "r", rows=2)
    assert stored(store) == [
        Interaction("7", "i0", 1_000_000_000_123, "rating", 3.0),
        Interaction("u", "i1", 12_500, "view"),
    ]
    assert rejected(tmp_path / "r") == [
        (3, "is not JSON"),
        (4, "is not a JSON object"),
        (5, "user_id: contains a control character"),
        (6, "time: is empty"),
    ]


def test_parquet_keeps_its_types_and_counts_rows_as_lines(store: SqlStore, tmp_path: Path) -> None:
    table = pl.DataFrame({"user_id": [1, 2, None], "item_id": ["i0", "i9", "i1"], "time": [5, 6, 7]})
    table = table.with_columns(pl.from_epoch("time", "s").dt.replace_time_zone("UTC"))
    table.write_parquet(tmp_path / "f")
    ingest(store, ParquetSource(tmp_path / "f", Kind.INTERACTIONS), tmp_path / "r", rows=2)
    assert stored(store) == [Interaction("1", "i0", 5000, "interaction")]
    assert [line for line, _ in rejected(tmp_path / "r")] == [2, 3]


def test_columns_can_be_mapped_and_an_event_be_given(store: SqlStore, tmp_path: Path) -> None:
    reading = Reading(("user_id=customer", "time=at"), event="purchase", time_unit=TimeUnit.SECONDS)
    source = csv_source(tmp_path / "f.csv", "customer,item_id,at,weather\nu,i0,200000000000,fine\n")
    ingest(store, source, tmp_path / "r", reading)
    assert stored(store) == []
    assert rejected(tmp_path / "r") == [(2, "time: lies in the future")]
    source = csv_source(tmp_path / "g.csv", "customer,item_id,at,weather\nu,i0,20,fine\n")
    ingest(store, source, tmp_path / "r2", reading)
    assert stored(store) == [Interaction("u", "i0", 20_000, "purchase")]


@pytest.mark.parametrize(
    ("columns", "content", "message"),
    [
        ((), "user,item_id,time\n", None),
        ((), "user,item_id,time\nu,i0,1\n", "no column user_id; it has item_id, time, user"),
        (("value=stars",), "user_id,item_id,time\nu,i0,1\n", "no column stars"),
        (("user=u",), HEADER, "--map takes FIELD=COLUMN"),
        (("user_id",), HEADER, "--map takes FIELD=COLUMN"),
        (("time=a", "time=b"), HEADER, "twice"),
        ((), "", "has no header"),
        ((), "a,a\n1,2\n", "names a column twice"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_as_a_whole(
    store: SqlStore, tmp_path: Path, columns: tuple[str, ...], content: str, message: str | None
) -> None:
    source = csv_source(tmp_path / "f.csv", content)
    epoch = store.epoch()
    if message is None:
        assert ingest(store, source, tmp_path / "r", Reading(columns)).accepted == 0
    else:
        with pytest.raises(InvalidInput, match=message):
            ingest(store, source, tmp_path / "r", Reading(columns))
    assert store.epoch() == epoch


def test_items_get_typed_attributes_from_texts(store: SqlStore, tmp_path: Path) -> None:
    content = (
        "sku,text,provider,year,price,zip,new,genres,empty\n"
        "a,A,p,1999,1,55117,true,x|y,\n"
        "b,B,,2001,2.5,T8H1N,False,z,\n"
        ",C,,1,1,1,true,,\n"
    )
    reading = Reading(("item_id=sku",), frozenset({"genres"}))
    result = ingest(store, csv_source(tmp_path / "f.csv", content, Kind.ITEMS), tmp_path / "r", reading, rows=1)
    assert (result.accepted, result.rejected) == (2, 1)
    assert rejected(tmp_path / "r") == [(4, "item_id: is empty")]
    kinds: dict[str, AttributeValue] = {"year": 1999, "price": 1.0, "zip": "55117", "new": True, "genres": ("x", "y")}
    assert store.item("a") == (5, Item("a", "A", kinds, "p"))
    found = store.item("b")
    assert found is not None
    assert found[1] == Item("b", "B", {"year": 2001, "price": 2.5, "zip": "T8H1N", "new": False, "genres": ("z",)})
    assert isinstance(found[1].attributes["year"], int)


def test_users_of_json_lines_keep_their_types(store: SqlStore, tmp_path: Path) -> None:
    rows = [
        {"user_id": "u", "age": 30, "code": "007", "likes": ["a", "b"], "x": None},
        {"user_id": "v", "bad": {"a": 1}},
    ]
    ingest(store, jsonl_source(tmp_path / "f", rows, Kind.USERS), tmp_path / "r")
    assert store.user("u") == (0, User("u", {"age": 30, "code": "007", "likes": ("a", "b")}))
    assert rejected(tmp_path / "r") == [
        (2, "attribute 'bad': must be text, a number, true or false, or a list of texts")
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_repeating_a_file_changes_nothing(store: SqlStore, tmp_path: Path, kind: Kind) -> None:
    content = HEADER + "".join(f"u{n % 3},i{n % 5},rating,{n % 5},words,{n}\n" for n in range(30)) + "u,,,,,\n"
    first = ingest(store, csv_source(tmp_path / "f.csv", content, kind), tmp_path / "r")
    epoch, listed = store.epoch(), rejected(tmp_path / "r")
    again = ingest(store, csv_source(tmp_path / "f.csv", content, kind), tmp_path / "r")
    assert first.accepted > 0
    assert again.resumed == 0
    if kind is Kind.INTERACTIONS:
        assert (again.accepted, again.duplicates, again.rejected) == (0, 30, 1)
        assert store.epoch() == epoch
    assert rejected(tmp_path / "r") == listed


def test_compressed_files_are_read(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "f.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "u,i0,rating,5,,1\n").encode()))
    assert ingest(store, CsvSource(File.at(path), Kind.INTERACTIONS), tmp_path / "r").accepted == 1


def test_a_truncated_archive_is_refused_before_anything_is_stored(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "f.csv.gz"
    whole = gzip.compress((HEADER + "".join(f"u,i0,rating,5,,{n}\n" for n in range(5000))).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="truncated"):
        ingest(store, CsvSource(File.at(path), Kind.INTERACTIONS), tmp_path / "r")
    assert store.counts().interactions == 0


def test_a_file_that_is_no_parquet_is_refused(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InvalidInput, match="complete Parquet file"):
        ingest(store, ParquetSource(tmp_path / "f", Kind.INTERACTIONS), tmp_path / "r")


def test_somebody_elses_file_is_not_overwritten_with_rejects(store: SqlStore, tmp_path: Path) -> None:
    source = csv_source(tmp_path / "f.csv", HEADER + "u,,,,,\n")
    with pytest.raises(InvalidInput, match="no list of rejects"):
        ingest(store, source, tmp_path / "f.csv")
    assert (tmp_path / "f.csv").read_text() == HEADER + "u,,,,,\n"


_KILLED = """
import os, signal, sys
from pathlib import Path
from indexer.ingest import Ingest
from rag_rec.progress.protocol import Silent
from indexer.sources.batch import Kind
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from rag_rec.store import open_store
from rag_rec.validation import Limits

folder, batches, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
store = open_store(f"sqlite:///{folder / 'home' / 'store.sqlite3'}")
appended = store.append_frame
calls = 0

def append_frame(frame, checkpoint=None):
    global calls
    calls += 1
    if calls > batches and moment == "before":  # the rejects of this batch are written, its transaction is not
        os.kill(os.getpid(), signal.SIGKILL)
    result = appended(frame, checkpoint)
    if calls > batches:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

store.append_frame = append_frame
source = CsvSource(File.at(folder / "f.csv"), Kind.INTERACTIONS)
Ingest(store, Limits(20_000, 10**12), Silent(), 10).run(source, folder / "r")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_ingest_that_is_killed_goes_on_where_it_was(store: SqlStore, tmp_path: Path, moment: str) -> None:
    rows = [f"u{n % 7},{'i0' if n % 6 else 'nowhere'},rating,5,,{n + 1}" for n in range(95)]
    source = csv_source(tmp_path / "f.csv", HEADER + "\n".join(rows))
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), "3", moment], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    complete = 30 if moment == "before" else 40
    assert store.counts().interactions == sum("i0" in row for row in rows[:complete])
    result = ingest(store, source, tmp_path / "r")
    expected = [at for at, row in enumerate(rows, 2) if "nowhere" in row]
    assert (result.resumed, result.accepted, result.rejected) == (complete, 95 - len(expected), len(expected))
    assert result.duplicates == 0
    assert [line for line, _ in rejected(tmp_path / "r")] == expected
    again = ingest(store, source, tmp_path / "r")
    assert (again.resumed, again.accepted, again.duplicates) == (0, 0, 95 - len(expected))


def test_the_state_does_not_depend_on_the_batches(tmp_path: Path) -> None:
    rows = [f"u{n * 7 % 11},i{n % 5},{'view' if n % 3 else 'rating'},{n % 5},,{n % 13}" for n in range(200)]
    source = csv_source(tmp_path / "f.csv", HEADER + "\n".join(rows))
    found = []
    for size in (1, 13, 1000):
        store = open_store(f"sqlite:///{tmp_path / str(size) / 'store.sqlite3'}")
        store.put_items([Item(f"i{n}", "t") for n in range(5)])
        ingest(store, source, tmp_path / "r", rows=size)
        found.append((store.counts(), sorted(stored(store), key=repr), list(store.events())))
        store.close()
    assert found[0] == found[1] == found[2]
    assert found[0][0] == Counts(11, 5, len({tuple(row.split(",")[at] for at in (0, 1, 2, 5)) for row in rows}))
