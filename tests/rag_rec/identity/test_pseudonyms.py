from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from rag_rec.domain import Interaction
from rag_rec.identity.pseudonyms import Pseudonyms

KEY = bytes(range(32))
ROW = Interaction("ada", "item-1", 5, "like", value=4.0, text="mine")


def test_a_pseudonym_is_the_hmac_of_kind_and_name() -> None:
    expected = hmac.new(KEY, b"user\0ada", hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).user("ada") == expected


def test_another_key_gives_other_names() -> None:
    here, there = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    assert here.user("ada") != there.user("ada")
    assert here.interaction(ROW) != there.interaction(ROW)
    assert here.key_id != there.key_id


def test_the_key_id_names_the_key_and_nobody() -> None:
    names = Pseudonyms(KEY)
    assert names.key_id == Pseudonyms(KEY).key_id
    assert len(names.key_id) == 16
    assert not names.user("").startswith(names.key_id)


@pytest.mark.parametrize("change", [{"user_id": "bob"}, {"item_id": "item-2"}, {"event": "view"}, {"time": 6}])
def test_an_interaction_is_named_by_who_what_how_and_when(change: dict[str, object]) -> None:
    names = Pseudonyms(KEY)
    assert names.interaction(replace(ROW, **change)) != names.interaction(ROW)  # type: ignore[arg-type]


def test_value_and_text_do_not_change_the_name_of_an_interaction() -> None:
    names = Pseudonyms(KEY)
    assert names.interaction(replace(ROW, value=1.0, text=None)) == names.interaction(ROW)


def test_values_cannot_run_into_each_other() -> None:
    names = Pseudonyms(KEY)
    assert names.interaction(Interaction("a", "bc", 5, "like")) != names.interaction(Interaction("ab", "c", 5, "like"))


def test_times_beyond_the_exact_numbers_of_json_can_be_named() -> None:
    names = Pseudonyms(KEY)
    late = replace(ROW, time=2**60)
    assert names.interaction(late) != names.interaction(replace(late, time=2**60 + 1))


def test_kinds_are_kept_apart() -> None:
    names = Pseudonyms(KEY)
    assert names.content("plan", {"a": 1}) != names.content("interaction", {"a": 1})
    assert names.content("plan", {"a": 1, "b": 2}) == names.content("plan", {"b": 2, "a": 1})


def test_a_key_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Pseudonyms(b"short")
