from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.copies.forgotten_check import ForgottenCheck, returned
from rag_rec.copies.restore import restore
from rag_rec.domain import Interaction
from rag_rec.home.keys import open_pseudonyms
from rag_rec.settings import Settings
from rag_rec.store.archive import opened
from rag_rec.store.records import LedgerEntry, Selection
from tests.homes import ITEMS, fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import back_up, identities_of, open_store_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_for(tmp_path / "home")
    fill(made, log())
    back_up(made, tmp_path / "full.backup")
    return made


def ledger_of(settings: Settings) -> list[LedgerEntry]:
    with open_store_of(settings) as store:
        return store.ledger()


def look(settings: Settings, entries: list[LedgerEntry]) -> ForgottenCheck:
    with opened(settings.database_url) as database:
        return returned(database, entries, open_pseudonyms(settings))


def bring_back(settings: Settings, tmp_path: Path) -> Settings:
    """A store into which the backup was put without replaying anything."""
    raw = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'raw.sqlite3'}"})
    settings.ledger_file.unlink()
    restore(tmp_path / "full.backup", raw, without_later_erasures=True)
    return raw


def test_nobody_is_back_where_nobody_is(settings: Settings) -> None:
    assert look(settings, []) == ForgottenCheck(0, 0, 0, 0)
    forget_in(settings, CANARY)
    forget_in(settings, "user-1", Selection(item_ids=frozenset({ITEMS[1].id})))
    found = look(settings, ledger_of(settings))
    assert found == ForgottenCheck(1, 1, 0, 0)
    assert found.nobody


def test_whoever_is_back_is_found(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    forget_in(settings, "user-1", Selection(item_ids=frozenset({ITEMS[1].id})))
    found = look(bring_back(settings, tmp_path), ledger_of(settings))
    assert found == ForgottenCheck(1, 1, 1, 6 + 1)
    assert not found.nobody


def test_a_consent_lets_in_what_comes_after_it_only(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    with identities_of(settings) as identities:
        since = identities.consent(CANARY).consented or 0
    with open_store_of(settings) as store:
        store.append([Interaction(CANARY, ITEMS[0].id, since, "like")])
    assert look(settings, ledger_of(settings)) == ForgottenCheck(1, 0, 0, 0)
    assert look(bring_back(settings, tmp_path), ledger_of(settings)) == ForgottenCheck(1, 0, 0, 6)


def test_who_is_forgotten_again_is_to_be_gone_again(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    with identities_of(settings) as identities:
        since = identities.consent(CANARY).consented or 0
    with open_store_of(settings) as store:
        store.append([Interaction(CANARY, ITEMS[0].id, since, "like")])
    forget_in(settings, CANARY)
    assert look(settings, ledger_of(settings)) == ForgottenCheck(1, 0, 0, 0)
    assert look(bring_back(settings, tmp_path), ledger_of(settings)) == ForgottenCheck(1, 0, 1, 6)
