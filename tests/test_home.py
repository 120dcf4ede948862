from __future__ import annotations

import base64
from pathlib import Path

import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Forgotten, InvalidInput, WrongKey
from rag_rec.home import store_of
from rag_rec.settings import Settings
from tests.forgetting.records import accepted


def settings_for(home: Path, **changes: object) -> Settings:
    return Settings.model_validate({"home": home, **changes})


def test_the_store_keeps_to_the_settings(tmp_path: Path) -> None:
    store = store_of(settings_for(tmp_path, max_text_characters=10))
    try:
        store.put_items([Item("item-1", "short")])
        with pytest.raises(InvalidInput):
            store.put_items([Item("item-2", "longer than that")])
    finally:
        store.close()


def test_the_store_refuses_whom_it_forgot(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    accepted(settings, "ada")
    store = store_of(settings)
    try:
        assert store.append([Interaction("ada", "item-1", 6, "like")]).suppressed == 1
        with pytest.raises(Forgotten):
            store.put_users([User("ada")])
    finally:
        store.close()


def test_another_key_does_not_open_a_store_with_forgotten_people(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    accepted(settings, "ada")
    other = base64.b64encode(b"o" * 32).decode()
    with pytest.raises(WrongKey):
        store_of(settings_for(tmp_path, pseudonym_key=other))
