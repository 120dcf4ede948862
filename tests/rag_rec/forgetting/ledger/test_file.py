from __future__ import annotations

import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from rag_rec.errors import BrokenLedger, Busy, NotReady
from rag_rec.forgetting.ledger import file
from rag_rec.forgetting.ledger.chain import EMPTY, tip_after
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.store.records import LedgerEntry
from tests.rag_rec.forgetting.ledger.chains import CHAIN, chain


def test_a_file_that_is_not_there_is_an_empty_ledger(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "copies" / "ledger.jsonl")
    assert copy.read() == []
    assert copy.tip() == EMPTY
    assert copy.sequence == 0


def test_a_file_takes_what_it_lacks(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "copies" / "ledger.jsonl")
    copy.extend(CHAIN[:2])
    copy.extend(CHAIN[2:3])
    copy.extend(CHAIN[1:])
    content = copy.path.read_bytes()
    copy.extend(CHAIN)
    copy.extend(CHAIN[:2])
    copy.extend([])
    assert copy.path.read_bytes() == content
    assert copy.read() == CHAIN
    assert copy.tip() == tip_after(CHAIN[-1])
    assert copy.sequence == len(CHAIN)


def test_a_file_takes_only_what_continues_it(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:3])
    content = copy.path.read_bytes()
    other = chain(6, word="other")
    for entries in (CHAIN[4:], other, other[:2], other[3:], [replace(CHAIN[3], body="{}")], CHAIN[4:2:-1]):
        with pytest.raises(BrokenLedger):
            copy.extend(entries)
    assert copy.path.read_bytes() == content


def test_a_changed_end_is_noticed_without_reading_the_file_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:3])
    monkeypatch.setattr(copy, "read", lambda: pytest.fail("the whole file was read"))
    copy.extend(CHAIN[2:4])
    copy.path.write_text(copy.path.read_text().replace("request-3", "request-9"))
    with pytest.raises(BrokenLedger, match=r"Entry 4 .* was changed .*rag-rec ledger verify.*ledger export"):
        copy.extend(CHAIN[3:])


def test_only_its_owner_can_read_a_copy(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN)
    assert stat.S_IMODE(copy.path.stat().st_mode) == 0o600


class Stored:
    """A ledger in a store."""

    def __init__(self, entries: Sequence[LedgerEntry]) -> None:
        self.entries = entries

    def newest_entry(self) -> LedgerEntry | None:
        return self.entries[-1] if self.entries else None

    def ledger_entry(self, sequence: int) -> LedgerEntry | None:
        return next((entry for entry in self.entries if entry.sequence == sequence), None)


def test_it_is_known_how_much_a_copy_lacks(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    assert (copy.lag(Stored([])), copy.lag(Stored(CHAIN))) == (0, 6)
    copy.extend(CHAIN[:4])
    assert (copy.lag(Stored(CHAIN)), copy.lag(Stored(CHAIN[:4]))) == (2, 0)


def test_a_copy_that_is_not_of_this_ledger_or_cannot_be_read_lags_by_nobody_knows(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:4])
    other = chain(6, word="other")
    for entries in ([], CHAIN[:3], other[:4], other):
        assert copy.lag(Stored(entries)) == -1
    copy.path.write_text("nonsense\n")
    assert copy.lag(Stored(CHAIN)) == -1
    assert LedgerFile(tmp_path / "ledger.jsonl" / "below").lag(Stored(CHAIN)) == 6
    assert LedgerFile(tmp_path).lag(Stored(CHAIN)) == -1


def test_a_copy_whose_last_entry_was_changed_is_no_copy_however_far_behind(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:2])
    changed = copy.path.read_text().replace("request-1", "request-9")
    assert changed != copy.path.read_text()
    copy.path.write_text(changed)
    assert (copy.lag(Stored(CHAIN)), copy.lag(Stored(CHAIN[:2]))) == (-1, -1)


def test_an_entry_that_is_added_meanwhile_does_not_make_a_copy_foreign(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:4])

    class Growing(Stored):
        def ledger_entry(self, sequence: int) -> LedgerEntry | None:
            self.entries = CHAIN
            copy.extend(CHAIN)
            return super().ledger_entry(sequence)

    assert copy.lag(Growing(CHAIN[:4])) == 2


def test_a_torn_last_line_is_dropped_and_written_again(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN)
    whole = copy.path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last + 1, (last + len(whole)) // 2, len(whole) - 1):
        copy.path.write_bytes(whole[:end])
        assert copy.read() == CHAIN[:-1]
        assert copy.tip() == tip_after(CHAIN[-2])
        copy.extend(CHAIN[-1:])
        assert copy.path.read_bytes() == whole


def test_a_torn_first_line_is_dropped_and_written_again(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    for torn in (b"", b'{"body"'):
        copy.path.write_bytes(torn)
        assert copy.read() == []
        assert copy.tip() == EMPTY
        copy.extend(CHAIN[:1])
        assert copy.read() == CHAIN[:1]


@pytest.mark.parametrize("line", [b"", b"{}", b"nonsense", b'{"sequence":"1"}', b"\xff"])
def test_a_line_that_is_no_entry_is_reported(tmp_path: Path, line: bytes) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.path.write_bytes(line + b"\n")
    with pytest.raises(BrokenLedger, match="ledger export"):
        copy.read()
    with pytest.raises(BrokenLedger, match="ledger export"):
        copy.tip()


def test_several_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    def write() -> None:
        for end in range(len(CHAIN) + 1):
            LedgerFile(path).extend(CHAIN[:end])

    writers = [threading.Thread(target=write) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert LedgerFile(path).read() == CHAIN


def test_a_file_that_stays_taken_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "LOCK_SECONDS", 0.0)
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    with FileLock(f"{copy.path}.lock"), pytest.raises(Busy, match="Another process"):
        copy.extend(CHAIN)
    copy.extend(CHAIN)


def test_a_place_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotReady, match="RAGREC_LEDGER_COPY"):
        LedgerFile(tmp_path / "file" / "ledger.jsonl").extend(CHAIN)
    with pytest.raises(NotReady, match="RAGREC_LEDGER_COPY"):
        LedgerFile(Path("/proc/ledger.jsonl")).extend(CHAIN)
    with pytest.raises(NotReady, match="RAGREC_LEDGER_COPY"):
        LedgerFile(tmp_path).read()
