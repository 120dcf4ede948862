from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.copies.newest import newest_ledger, written
from rag_rec.errors import BrokenLedger, ConfirmationRequired, WrongKey
from rag_rec.forgetting.ledger.chain import EMPTY, make_entry, tip_after
from rag_rec.identity.signing import Signer
from rag_rec.store.records import LedgerEntry

SIGNER = Signer(b"7" * 32)


def chain(length: int, kind: str = "consent") -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    for number in range(length):
        tip = tip_after(entries[-1]) if entries else EMPTY
        entries.append(make_entry(tip, kind, {"number": number}, SIGNER))
    return entries


WHOLE = chain(6)


@given(own=st.integers(0, 6), known=st.lists(st.integers(0, 6), max_size=4), own_suffices=st.booleans())
def test_the_longest_counts_and_an_old_one_only_if_that_was_said(
    own: int, known: list[int], own_suffices: bool
) -> None:
    copies = [WHOLE[:length] for length in known]
    newer = any(length >= own for length in known)
    if newer or own_suffices:
        newest = newest_ledger(WHOLE[:own], copies, SIGNER.verifier, own_suffices=own_suffices)
        assert list(newest) == WHOLE[: max(own, *known, 0)]
    else:
        with pytest.raises(BrokenLedger if known else ConfirmationRequired):
            newest_ledger(WHOLE[:own], copies, SIGNER.verifier, own_suffices=own_suffices)


@given(length=st.integers(1, 6), own=st.integers(1, 6), own_suffices=st.booleans())
def test_another_stores_ledger_is_never_taken(length: int, own: int, own_suffices: bool) -> None:
    with pytest.raises(BrokenLedger, match="contradict"):
        newest_ledger(WHOLE[:own], [chain(length, "hold")], SIGNER.verifier, own_suffices=own_suffices)


@pytest.mark.parametrize("place", range(6))
def test_a_changed_entry_is_found_in_every_place(place: int) -> None:
    changed = [replace(entry, body="{}") if at == place else entry for at, entry in enumerate(WHOLE)]
    with pytest.raises(BrokenLedger):
        newest_ledger(WHOLE[:1], [changed], SIGNER.verifier, own_suffices=True)


def test_a_ledger_that_somebody_else_signed_is_refused() -> None:
    with pytest.raises(WrongKey, match="not the key that signed"):
        newest_ledger([], [WHOLE], Signer(b"8" * 32).verifier, own_suffices=False)


def test_every_kind_of_entry_says_when_it_was_written() -> None:
    consent = make_entry(EMPTY, "consent", {"time": 1500}, SIGNER)
    receipt = make_entry(EMPTY, "receipt", {"issued": "2026-02-03T04:05:06.007Z"}, SIGNER)
    assert written(consent) == "1970-01-01T00:00:01.500Z"
    assert written(receipt) == "2026-02-03T04:05:06.007Z"
