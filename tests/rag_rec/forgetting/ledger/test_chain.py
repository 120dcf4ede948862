from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag_rec.errors import BrokenLedger, WrongKey
from rag_rec.forgetting.ledger.chain import EMPTY, check_key, make_entry, tip_after, verify_chain, verify_links
from rag_rec.identity.signing import Signer, Verifier
from rag_rec.store.records import LedgerEntry
from tests.rag_rec.forgetting.ledger.chains import CHAIN, FOREIGN, SIGNER, chain


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
