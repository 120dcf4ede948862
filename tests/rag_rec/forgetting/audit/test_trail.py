"""Who did what: in the signed ledger, by fingerprint or user of the operating system, with people as pseudonyms."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from multiprocessing import Pipe
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands.app import build_app
from rag_rec.engine.removals.messages import Order, receive, send
from rag_rec.errors import LegalHold
from rag_rec.forgetting.audit.actor import Actor, ActorKind, acting, current_actor
from rag_rec.forgetting.audit.trail import Deed, deeds
from rag_rec.forgetting.ledger.comparison import compare, verified
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.keys import open_pseudonyms
from rag_rec.settings import Settings
from tests.homes import running, settings_for
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import back_up, open_store_of

OFFICER = Actor(ActorKind.KEY, "0123456789abcdef", "privacy")


def trail(settings: Settings) -> list[Deed]:
    with open_store_of(settings) as store:
        return deeds(store)


def command(settings: Settings, *words: str) -> str:
    result = CliRunner().invoke(build_app(), [*words, "--json"], env={"RAGREC_HOME": str(settings.home)})
    assert result.exit_code == 0, result.stdout
    return result.stdout


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "home")


def test_every_action_of_a_privacy_officer_is_in_the_ledger_with_its_actor(settings: Settings) -> None:
    engine = running(settings.home, log())
    with acting(OFFICER):
        engine.officer.hold(CANARY, "a case")
        engine.officer.release(CANARY)
        engine.officer.export(CANARY)
        plan = engine.officer.plan(ForgetRequest.of(CANARY)).plan
        done = engine.officer.forget(ForgetRequest.of(CANARY, None, CANARY, plan))
        engine.officer.consent(CANARY)
        engine.officer.prove(done.request_id)
    found = engine.officer.audit()
    assert [each.action for each in found] == ["hold", "release", "export", "forget", "consent", "prove"]
    assert all(each.actor == OFFICER.document() for each in found)
    subject = open_pseudonyms(settings).user(CANARY)
    assert [each.subject for each in found] == [*[subject] * 5, None]
    assert [each.request for each in found] == [None, None, None, done.request_id, None, done.request_id]
    assert engine.officer.audit(after=found[0].sequence, limit=2) == found[1:3]
    assert CANARY not in orjson.dumps([asdict(each) for each in found]).decode()
    compare(verified(engine.store, settings), LedgerFile(settings.ledger_file).read(), settings.ledger_file)
    engine.close()


def test_what_was_refused_is_no_action(settings: Settings) -> None:
    engine = running(settings.home, log())
    engine.officer.hold(CANARY, "a case")
    plan = engine.officer.plan(ForgetRequest.of(CANARY)).plan
    with pytest.raises(LegalHold):
        engine.officer.forget(ForgetRequest.of(CANARY, None, CANARY, plan))
    assert [each.action for each in engine.officer.audit()] == ["hold"]
    engine.close()


def test_on_the_command_line_the_actor_is_the_user_of_the_operating_system(settings: Settings, tmp_path: Path) -> None:
    running(settings.home, log()).close()
    back_up(settings, tmp_path / "a.backup")
    command(settings, "export", CANARY)
    plan = orjson.loads(command(settings, "forget", "user", CANARY, "--dry-run"))["plan"]
    command(settings, "forget", "user", CANARY, "--confirm", CANARY, "--plan", plan)
    command(settings, "restore", str(tmp_path / "a.backup"))
    me = {"kind": "os-user", "name": getpass.getuser(), "role": None}
    assert [(each.action, each.actor) for each in trail(settings)] == [
        ("export", me),
        ("forget", me),
        ("restore", me),
    ]
    listed = command(settings, "audit", "list")
    assert [each["action"] for each in orjson.loads(listed)["actions"]] == ["export", "forget", "restore"]
    assert CANARY not in listed


def test_words_name_the_actor(settings: Settings) -> None:
    engine = running(settings.home, log())
    with acting(OFFICER):
        engine.officer.export(CANARY)
    engine.close()
    shown = CliRunner().invoke(build_app(), ["audit", "list"], env={"RAGREC_HOME": str(settings.home)}).stdout
    assert "0123456789abcdef" in shown
    assert "export" in shown


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr("rag_rec.forgetting.audit.actor.getpass.getuser", nameless)
    assert current_actor().name.startswith("uid ")


def test_the_process_that_carries_a_removal_out_knows_who_asked() -> None:
    with acting(OFFICER):
        order = Order(ForgetRequest.of("ada"), None)
    here, there = Pipe()
    send(here, order)
    received = receive(there)
    assert isinstance(received, Order)
    assert received.request.actor == OFFICER
