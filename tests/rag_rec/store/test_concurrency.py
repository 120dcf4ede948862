"""Several threads and processes use one store at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rag_rec.domain import Interaction, Item
from rag_rec.store import SqlStore, open_store
from rag_rec.store.records import Counts
from tests.rag_rec.store.reference_privacy import PSEUDONYMS

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(20)]
_WRITER = """
import sys
from rag_rec.domain import Interaction
from rag_rec.store import open_store
from tests.rag_rec.store.removing import delete_user
store = open_store(sys.argv[1])
for n in range(40):
    store.append([Interaction(f"{sys.argv[2]}-{n % 5}", f"i{n % 20}", n), Interaction("shared", f"i{n % 20}", n)])
    if n % 8 == 7:
        delete_user(store, store.user(f"{sys.argv[2]}-{n % 5}")[0])
        store.scrub()
store.close()
"""


def test_threads_write_and_read_at_the_same_time(sql_store: SqlStore) -> None:
    sql_store.put_items(ITEMS)

    def work(thread: int) -> list[int]:
        seen = []
        for n in range(15):
            sql_store.append([Interaction(f"t{thread}", f"i{n}", n), Interaction("shared", f"i{n}", n)])
            seen.append(sql_store.epoch())
            assert len(sql_store.history(sql_store.user(f"t{thread}")[0])) == n + 1  # type: ignore[index]
        return seen

    with ThreadPoolExecutor(4) as pool:
        epochs = list(pool.map(work, range(4)))
    assert all(seen == sorted(seen) for seen in epochs)
    assert sql_store.counts() == Counts(5, 20, 75)
    assert [change.epoch for change in sql_store.changes(0)] == list(range(1, sql_store.epoch() + 1))


def test_processes_write_at_the_same_time(store_url: str) -> None:
    store = open_store(store_url)
    store.put_items(ITEMS)
    command = [sys.executable, "-c", _WRITER, store_url]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in ("a", "b")]
    for _ in poll(writers):
        assert store.epoch() >= len(ITEMS)
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert [writer.returncode for writer in writers] == [0, 0]
    shared = store.user("shared")
    assert shared is not None
    assert len(store.history(shared[0])) == 40
    # Each writer deleted each of its five users at least once; every number is still unique, every change in order.
    assert [change.epoch for change in store.changes(0)] == list(range(1, store.epoch() + 1))
    numbers = [number for _, history in store.histories() for number in history["interaction"].tolist()]
    assert len(numbers) == len(set(numbers)) == store.counts().interactions
    store.close()


_ERASER = """
import sys
from rag_rec.errors import PlanChanged
from rag_rec.store import open_store
from tests.rag_rec.store.erasing import chained, erasure_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS
store = open_store(sys.argv[1], pseudonyms=PSEUDONYMS)
erasures = [erasure_of(store, f"u{n}", None, f"{sys.argv[2]}{n}") for n in range(30)]
print("ready", flush=True)
sys.stdin.readline()
won = 0
for erasure in erasures:
    try:
        won += len(store.accept([erasure], chained))
    except PlanChanged:
        pass
print(won)
store.close()
"""


def test_of_two_processes_that_accept_the_same_person_one_does(store_url: str) -> None:
    store = open_store(store_url, pseudonyms=PSEUDONYMS)
    store.put_items(ITEMS)
    store.append([Interaction(f"u{n}", "i0", n) for n in range(31)])
    epoch = store.epoch()
    command = [sys.executable, "-c", _ERASER, store_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    erasers = [subprocess.Popen([*command, name], **pipes) for name in ("a", "b")]  # type: ignore[call-overload]
    for eraser in erasers:
        assert eraser.stdout.readline() == "ready\n"
    for eraser in erasers:
        eraser.stdin.write("go\n")
        eraser.stdin.flush()
    assert sum(int(eraser.communicate()[0]) for eraser in erasers) == 30
    assert store.counts() == Counts(1, 20, 1)
    assert store.epoch() == epoch + 30
    records = store.forget_records()
    assert sorted(record.user_number or 0 for record in records) == list(range(30))
    assert [entry.sequence for entry in store.ledger()] == list(range(1, 31))
    assert sorted(entry.body for entry in store.ledger()) == sorted(record.request_id for record in records)
    store.close()


def poll(writers: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    while any(writer.poll() is None for writer in writers):
        yield
