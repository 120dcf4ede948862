from __future__ import annotations

import hashlib
import json
import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import assume, given
from hypothesis import strategies as st

from rag_rec.errors import BrokenLedger, Busy, NotReady, WrongKey
from rag_rec.forgetting import ledger
from rag_rec.forgetting.ledger import EMPTY, LedgerFile, check_key, make_entry, tip_after, verify_chain, verify_links
from rag_rec.forgetting.signing import Signer, Verifier
from rag_rec.store.records import LedgerEntry

SIGNER = Signer(b"s" * 32)
FOREIGN = Signer(b"f" * 32)


def chain(length: int, signer: Signer = SIGNER, word: str = "request") -> list[LedgerEntry]:
    tip, entries = EMPTY, list[LedgerEntry]()
    for number in range(length):
        entries.append(make_entry(tip, "erasure", {"request": f"{word}-{number}", "time": number}, signer))
        tip = tip_after(entries[-1])
    return entries


CHAIN = chain(6)


def holds(entries: Sequence[LedgerEntry]) -> bool:
    """Whether the entries pass for the whole ledger, whose end is known."""
    try:
        return verify_chain(entries, SIGNER.verifier) == tip_after(CHAIN[-1])
    except BrokenLedger:
        return False


def test_a_chain_verifies_with_the_public_key_alone() -> None:
    verifier = Verifier.from_pem(SIGNER.public_pem)
    assert verify_chain(CHAIN, verifier) == tip_after(CHAIN[-1])
    assert verify_chain([], verifier) == EMPTY


def test_an_entry_can_be_recomputed_by_hand() -> None:
    first = CHAIN[0]
    assert first.body == '{"request":"request-0","time":0}'
    content = {"body": first.body, "kind": "erasure", "previous": "0" * 64, "sequence": 1}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert first.digest == hashlib.sha256(text.encode()).hexdigest()
    assert SIGNER.verifier.verify(first.digest.encode(), first.signature)


def test_a_chain_can_be_verified_in_parts() -> None:
    middle = verify_chain(CHAIN[:3], SIGNER.verifier)
    assert verify_chain(CHAIN[3:], SIGNER.verifier, middle) == tip_after(CHAIN[-1])
    with pytest.raises(BrokenLedger, match="Entry 3"):
        verify_chain(CHAIN[3:], SIGNER.verifier, tip_after(CHAIN[1]))


@given(st.lists(st.sampled_from(CHAIN), max_size=8))
def test_whatever_is_taken_out_put_in_or_moved_is_detected(entries: list[LedgerEntry]) -> None:
    assume(entries != CHAIN)
    assert not holds(entries)


@given(st.data())
def test_whatever_is_changed_in_an_entry_is_detected(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(CHAIN) - 1))
    name = data.draw(st.sampled_from(["sequence", "kind", "body", "previous", "digest", "signature"]))
    old: Any = getattr(CHAIN[place], name)
    new: Any = data.draw(st.integers() if isinstance(old, int) else st.text() | st.just(old + " "))
    assume(new != old)
    changed = [*CHAIN]
    changed[place] = replace(CHAIN[place], **{name: new})
    assert not holds(changed)


@given(st.integers(0, len(CHAIN) - 1), st.sampled_from([SIGNER, FOREIGN]))
def test_an_entry_that_was_replaced_by_a_well_made_one_is_detected(place: int, signer: Signer) -> None:
    tip = tip_after(CHAIN[place - 1]) if place else EMPTY
    changed = [*CHAIN]
    changed[place] = make_entry(tip, "erasure", {"request": "another"}, signer)
    assert not holds(changed)


def test_a_chain_rewritten_by_somebody_else_is_detected() -> None:
    with pytest.raises(WrongKey, match=f"{SIGNER.key_id} is not the key that signed the ledger"):
        verify_chain(chain(6, FOREIGN), SIGNER.verifier)


@pytest.mark.parametrize("own", range(1, 6))
def test_a_chain_that_two_keys_signed_is_broken_where_the_other_begins(own: int) -> None:
    tip, entries = tip_after(CHAIN[own - 1]), CHAIN[:own]
    entries.append(make_entry(tip, "erasure", {}, FOREIGN))
    with pytest.raises(BrokenLedger, match=f"Entry {own + 1} of the ledger was not signed with the key"):
        verify_chain(entries, SIGNER.verifier)
    check_key(entries[0], SIGNER.verifier)
    with pytest.raises(WrongKey, match="RAGREC_SIGNING_KEY"):
        check_key(entries[-1], SIGNER.verifier)


def test_a_ledger_without_entries_may_begin_with_any_key() -> None:
    check_key(None, FOREIGN.verifier)


def test_links_can_be_checked_without_a_key() -> None:
    assert verify_links(chain(3, FOREIGN)) == tip_after(chain(3, FOREIGN)[-1])
    with pytest.raises(BrokenLedger, match="Entry 2 of the ledger was changed"):
        verify_links([CHAIN[0], replace(CHAIN[1], kind="hold")])


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


def test_it_is_known_how_much_a_copy_lacks(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    assert (copy.lag(None), copy.lag(CHAIN[5])) == (0, 6)
    copy.extend(CHAIN[:4])
    assert (copy.lag(CHAIN[5]), copy.lag(CHAIN[3])) == (2, 0)


def test_a_copy_that_is_not_of_this_ledger_or_cannot_be_read_lags_by_nobody_knows(tmp_path: Path) -> None:
    copy = LedgerFile(tmp_path / "ledger.jsonl")
    copy.extend(CHAIN[:4])
    assert [copy.lag(None), copy.lag(CHAIN[2]), copy.lag(chain(4, word="other")[-1])] == [-1, -1, -1]
    copy.path.write_text("nonsense\n")
    assert copy.lag(CHAIN[5]) == -1
    assert LedgerFile(tmp_path / "ledger.jsonl" / "below").lag(CHAIN[5]) == 6
    assert LedgerFile(tmp_path).lag(CHAIN[5]) == -1


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
    monkeypatch.setattr(ledger, "LOCK_SECONDS", 0.0)
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
