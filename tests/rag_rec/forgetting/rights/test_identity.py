from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from rag_rec.domain import Interaction, RecommendationRequest, User
from rag_rec.engine.engine import Engine
from rag_rec.errors import Forgotten, InvalidInput, LegalHold, UnknownUser, WrongKey
from rag_rec.settings import Settings
from tests.homes import ITEMS, fill, running, settings_for
from tests.rag_rec.forgetting.asking import forget, forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import identities_of, people_in


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def now() -> int:
    return time.time_ns() // 1_000_000


def test_a_person_who_consents_begins_anew(engine: Engine) -> None:
    old = log()[-6:]
    forget(engine.officer, CANARY)
    with pytest.raises(Forgotten):
        engine.put_user(User(CANARY))
    opened = engine.officer.consent(CANARY)
    assert opened.identity == 2
    assert opened.consented is not None
    engine.put_user(User(CANARY, {"age": 40}))
    late = engine.add_interactions(CANARY, old)
    assert (late.accepted, late.suppressed) == (0, 6)
    fresh = engine.add_interactions(CANARY, [Interaction(CANARY, ITEMS[8].id, now(), "like")])
    assert (fresh.accepted, fresh.suppressed) == (1, 0)
    assert engine.recommend(RecommendationRequest(CANARY)).provenance.known_user
    assert engine.officer.consent(CANARY) == opened
    forget(engine.officer, CANARY)
    assert engine.officer.consent(CANARY).identity == 3


def test_consents_and_holds_are_in_the_ledger_without_names(engine: Engine) -> None:
    engine.officer.hold("user-1", "case 7")
    engine.officer.release("user-1")
    forget(engine.officer, CANARY)
    engine.officer.consent(CANARY)
    entries = engine.store.ledger()
    assert [entry.kind for entry in entries] == ["hold", "release", "erasure", "receipt", "consent"]
    text = "".join(entry.body for entry in entries)
    assert CANARY not in text
    assert "user-1" not in text
    assert orjson.loads(entries[0].body)["reason"] == "case 7"


def test_holds_are_listed_by_pseudonym(engine: Engine) -> None:
    hold = engine.officer.hold("user-1", "case 7")
    assert engine.officer.holds() == [hold]
    assert hold.subject == engine.officer.system().pseudonyms.user("user-1")


def test_another_key_does_not_free_a_person_who_is_held(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    with identities_of(settings) as identities:
        identities.hold(CANARY, "case 7")
    with pytest.raises(WrongKey):
        forget_in(Settings.model_validate({**settings.model_dump(), "pseudonym_key": "B" * 43 + "="}), CANARY)
    with pytest.raises(LegalHold, match="case 7"):
        forget_in(settings, CANARY)
    assert CANARY in people_in(settings)


def test_what_cannot_be_recorded_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        engine.officer.hold("user-1", "  ")
    with pytest.raises(UnknownUser):
        engine.officer.hold("nobody", "case 7")
    with pytest.raises(UnknownUser):
        engine.officer.release("user-1")
    with pytest.raises(UnknownUser):
        engine.officer.consent("user-1")
    assert engine.store.ledger() == []
