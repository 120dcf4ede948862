from __future__ import annotations

import base64
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.commands.doctor import State, examine
from rag_rec.domain import Interaction
from rag_rec.fairness.control import Control, Grouping, Strengths
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.generators.spec import wanted
from rag_rec.home.opening import store_of
from rag_rec.recommend.gate import NOTHING, Gate, gate_path
from rag_rec.settings import Settings
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import LOG, build_compact
from tests.rag_rec.commands.asking import detail
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.records import accepted
from tests.rag_rec.generators.fake_server import FakeServer
from tests.rag_rec.generators.models import tiny_chat_model

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


PRIVATE = dict.fromkeys(("events", "keys", "ledger", "forgetting"), State.OK)


def states(settings: Settings) -> dict[str, State]:
    return {finding.part: finding.state for finding in examine(settings)}


def test_an_empty_home_is_told_what_to_do(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, [])
    assert states(settings) == PRIVATE | {"store": State.OK, "index": State.FAILED, "generator": State.NOTE}
    assert "rag-rec index build" in detail(settings, "index")


def test_the_gate_is_read_out(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    assert states(settings) == PRIVATE | {
        "store": State.OK,
        "index": State.OK,
        "generator": State.OK,
        "gate": State.NOTE,
    }
    assert "generator gate" in detail(settings, "gate")
    target = wanted(settings)
    assert target is not None
    path = gate_path(settings.gates, target.digest, target.adapter_digest)
    noise = Gate(True, 8.0, users=96, candidates=0.2, llm=0.1, fused=0.205, gain=(-0.0075, 0.0245))
    noise.save(path)  # as an earlier version did, which had it open
    assert states(settings)["gate"] is State.NOTE
    said = detail(settings, "gate")
    for part in ("bypassed", "closed", "-0.0075 to +0.0245", "96 people", "Few people were asked", "NDCG@10"):
        assert part in said
    replace(noise, users=4000).save(path)
    assert "More people or another LLM" in detail(settings, "gate")
    replace(noise, gain=(-0.02, -0.01)).save(path)
    assert "no better than the candidates' order" in detail(settings, "gate")
    replace(noise, gain=None).save(path)
    assert "Run `rag-rec generator gate`" in detail(settings, "gate")
    replace(noise, weight=1.5, gain=(0.001, 0.0245)).save(path)
    assert states(settings)["gate"] is State.OK
    assert "candidates weigh 1.5" in detail(settings, "gate")
    assert "open, because the whole interval is above zero" in detail(settings, "gate")


def test_an_adapter_that_saw_a_forgotten_person_is_reported(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    forget_in(settings, "user-3")
    assert states(settings)["adapter"] is State.NOTE
    assert "rag-rec adapter retrain" in detail(settings, "adapter")


def test_events_that_say_nothing_or_should_say_more_are_named(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    old = [Interaction("u", ITEMS[0].id, 1, "teleport"), Interaction("u", ITEMS[1].id, 2, "rating")]
    fill(settings, old)
    details = [finding.detail for finding in examine(settings) if finding.part == "events"]
    assert details[0].startswith("some have no rule and say nothing: teleport (1).")
    assert details[1].startswith("1 without the value that their event needs")
    assert details[2] == "1 of 2 interactions are positive"
    known = settings_for(tmp_path, events={"teleport": "positive", "rating": "negative"})
    assert detail(known, "events") == "1 of 2 interactions are positive"


def test_hardly_anything_positive_is_noted_and_nothing_positive_fails(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    shown = [Interaction("u", ITEMS[0].id, at, "impression") for at in range(500)]
    skipped = [Interaction("u", ITEMS[0].id, at, "skip") for at in range(150)]
    fill(settings, [*shown, *skipped])
    assert states(settings)["events"] is State.FAILED
    fill(settings, [Interaction("u", ITEMS[0].id, 1, "like")])
    assert states(settings)["events"] is State.NOTE
    assert "only 1 of 651 interactions are positive" in detail(settings, "events")
    fill(settings, [Interaction("u", ITEMS[0].id, 2, "like")])
    assert states(settings)["events"] is State.OK


def test_an_index_of_other_rules_is_noted(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    assert states(settings)["index"] is State.OK
    assert states(settings_for(tmp_path, events={"x": "positive"}))["index"] is State.NOTE


def test_it_says_where_the_keys_are(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, [])
    assert "made just now" in detail(settings, "keys")
    assert f"signing key: {settings.keys / 'signing.key'}" in detail(settings, "keys")
    given = settings_for(tmp_path, signing_key=base64.b64encode(b"o" * 32).decode())
    assert "signing key: RAGREC_SIGNING_KEY" in detail(given, "keys")
    accepted(settings, "ada")
    assert states(given)["keys"] is State.FAILED
    assert "not the key that signed the ledger" in detail(given, "keys")


def test_a_copy_of_the_ledger_that_is_behind_or_broken_fails_the_check(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    accepted(settings, "ada")
    assert states(settings)["ledger"] is State.FAILED
    assert "lacks the newest 1 entries" in detail(settings, "ledger")
    assert "`rag-rec forget resume`" in detail(settings, "ledger")
    settings.ledger_file.write_text("nonsense\n")
    assert states(settings)["ledger"] is State.FAILED
    assert "`rag-rec ledger export`" in detail(settings, "ledger")


def test_a_copy_of_the_ledger_that_was_changed_anywhere_fails_the_check(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for name in ("ada", "bob", "cyd"):
        accepted(settings, name)
    with closing(store_of(settings)) as store:
        LedgerFile(settings.ledger_file).extend(store.ledger())
    assert states(settings)["ledger"] is State.OK
    assert "3 entries" in detail(settings, "ledger")
    settings.ledger_file.write_text(settings.ledger_file.read_text().replace("of-bob", "of-eve"))
    assert states(settings)["ledger"] is State.FAILED
    assert "from entry 2 on" in detail(settings, "ledger")


def test_pending_requests_are_told_with_their_nearest_deadline(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    record = accepted(settings, "ada")  # long overdue
    assert states(settings)["forgetting"] is State.FAILED
    assert "1 requests are pending, the nearest deadline is 1970-01-01T00:00:02" in detail(settings, "forgetting")
    with closing(store_of(settings)) as store:
        later = replace(record, deadline=(time.time_ns() // 1_000_000) + 86_400_000)
        store.extend_ledger(lambda _: ([], [later]))
    assert states(settings)["forgetting"] is State.NOTE


def test_an_exposure_control_is_told_or_that_it_was_not_learned(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, exposure_figures=["popularity"])
    fill(settings, LOG)
    build(settings)
    assert states(settings)["exposure"] is State.NOTE
    assert "rag-rec generator gate" in detail(settings, "exposure")
    for strength, state, told in ((0.5, State.OK, "popularity=head by 0.5"), (0.0, State.NOTE, "no strength")):
        by = Strengths(Grouping("popularity", ("head", "tail"), (2.0,)), (0.0, 0.0), (strength, 0.0))
        control = Control(("popularity",), 0.01, (by,), {})
        Gate(False, 1.0, NOTHING, control=control).save(gate_path(settings.gates, NOTHING, None))
        assert states(settings)["exposure"] is state
        assert told in detail(settings, "exposure")


def test_a_server_that_is_not_there_fails_the_check(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, generator="vllm", generator_urls=["http://127.0.0.1:9"])
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    assert states(settings)["generator"] is State.FAILED


def test_one_of_several_servers_that_is_not_there_is_named(tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    with FakeServer(most=128) as server:
        settings = settings_for(tmp_path, generator="vllm", generator_urls=[server.url, away])
        fill(settings, LOG)
        build(settings)
        build_compact(settings)
        assert states(settings)["generator"] is State.OK
        assert away in detail(settings, "server")


def test_no_items_are_no_reason_to_fail(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    emptied = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    fill(emptied, [], [])
    assert states(emptied)["generator"] is State.NOTE


def test_an_llm_that_cannot_be_asked_fails_the_check_and_says_why(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    missing = settings.model_copy(update={"generator": "local", "generator_model": str(tmp_path / "no-such-model")})
    assert states(missing)["generator"] is State.FAILED
    assert "no-such-model" in detail(missing, "generator")
    folder = tmp_path / "chat"
    folder.mkdir()
    tiny_chat_model(folder)
    vllm = {"generator": "vllm", "generator_urls": ["http://127.0.0.1:9"], "generator_model": str(folder)}
    away = settings.model_copy(update=vllm)
    assert states(away)["generator"] is State.FAILED
    assert "Nobody answers at http://127.0.0.1:9" in detail(away, "generator")


def test_an_index_without_a_signature_is_noted_and_a_damaged_one_has_failed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    folder = build(settings).folder
    assert states(settings)["index"] is State.OK
    (folder / "manifest.sig").unlink()
    assert states(settings)["index"] is State.NOTE
    assert "rag-rec index rebuild" in detail(settings, "index")
    path = folder / "profiles" / "00.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert states(settings)["index"] is State.FAILED
