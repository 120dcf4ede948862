from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import orjson
import pytest

from rag_rec.copies.restore import restore
from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine.system import open_system
from rag_rec.errors import (
    BrokenLedger,
    Busy,
    ConfirmationRequired,
    IncompatibleStore,
    InvalidInput,
    NotReady,
    WrongKey,
)
from rag_rec.forgetting.ledger.chain import make_entry
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.retirement import retire_place
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.index.generation import Generations
from rag_rec.presence.hosts import this_process_space
from rag_rec.presence.replicas import EXPIRY_MS
from rag_rec.progress.protocol import Silent
from rag_rec.proof.forensics import traces
from rag_rec.settings import Settings
from rag_rec.store.archive import ARCHIVED
from rag_rec.store.records import LedgerTip, Place, Replica
from tests.homes import ITEMS, build, engine_of, fill, running, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, CANARY_TEXT, log
from tests.rag_rec.forgetting.stores import (
    LATER,
    OTHERS,
    Crash,
    append,
    back_up,
    crash,
    differing,
    open_store_of,
    people_in,
    requests,
    rows_of,
    under_another_pseudonym_key,
)


def test_puts_every_row_back(settings: Settings, backup: Path) -> None:
    forget_in(settings, "user-0")
    back_up(settings, newer := backup.with_name("newer.backup"))
    rows = rows_of(settings)
    append(settings, LATER)
    restored = restore(newer, settings)
    assert people_in(settings) == OTHERS - {"user-0"} | {CANARY}
    assert differing(rows, rows_of(settings)) == ["counters"]
    assert restored.rows == {name: len(frame) for name, frame in rows.items()}
    assert restored.replayed == {}
    assert restored.ledger == 2


def test_the_restored_store_is_the_system_that_was_backed_up(settings: Settings, backup: Path, tmp_path: Path) -> None:
    with open_store_of(settings) as store:
        known = store.identity()
    other = settings.model_copy(update={"home": tmp_path / "other", "store_url": None})
    shutil.copytree(settings.keys, other.keys)
    restore(backup, other, without_later_erasures=True)
    with open_store_of(other) as store:
        assert store.identity() == known


def test_a_backup_from_before_stores_had_an_id_leaves_the_id_alone(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = tuple(table for table in ARCHIVED if table.name not in {"identity", "places"})
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.copies.backup.HEAD", "0003")
        patched.setattr("rag_rec.copies.backup.ARCHIVED", without)
        back_up(settings, old := backup.with_name("older.backup"))
    with open_store_of(settings) as store:
        known = store.identity()
    restore(old, settings, without_later_erasures=True)
    with open_store_of(settings) as store:
        assert store.identity() == known


class CrashAfter(Silent):
    """Crashes when rows are written for the nth time."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def advance(self, steps: int) -> None:  # noqa: ARG002 - the seam's signature
        self._left -= 1
        if not self._left:
            raise Crash


def restored_or_old(settings: Settings) -> str:
    """Which of the only two states a store may be in after a crash."""
    with open_store_of(settings) as store:
        later = store.user("later") is not None
        assert store.user(CANARY) is None
        return "old" if later else "restored"


def test_a_crash_leaves_the_old_store_or_one_without_the_forgotten(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    for calls in count(1):
        try:
            restore(backup, settings, progress=CrashAfter(calls))
        except Crash:
            assert restored_or_old(settings) == "old"
        else:
            break
    assert calls > 4
    assert restored_or_old(settings) == "restored"


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ("rag_rec.copies.replay.suppress", "old"),
        ("rag_rec.copies.replay.Replay._receipt", "old"),
        ("rag_rec.copies.restore.discard_derived", "old"),
        ("rag_rec.forgetting.ledger.file.LedgerFile.extend", "restored"),
        ("rag_rec.copies.restore.scrub", "restored"),
    ],
)
def test_a_crash_at_a_step(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch, place: str, state: str
) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    with monkeypatch.context() as patched:
        patched.setattr(place, crash)
        with pytest.raises(Crash):
            restore(backup, settings)
    assert restored_or_old(settings) == state
    restore(backup, settings)
    assert restored_or_old(settings) == "restored"


def test_what_was_made_from_the_old_store_is_destroyed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    build(settings)
    restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    assert Generations(settings.generations).names() == []


PLACES: list[str] = [
    "generations/evil",
    "generations/building-1-evil",
    "generations/building-rewriting-evil",
    "generations/file",
    "generations/{current}/link",
    "generations/{current}/profiles/link",
    "compact/adapters",
    "compact/adapters/evil",
    "compact/adapters/evil/link",
    "compact/training",
    "compact/training/000001.safetensors",
    "gates",
    "gates/evil.json",
    "store.sqlite3.restoring",
    "store.sqlite3.restoring-wal",
]


@pytest.mark.parametrize("kind", ["folder", "file", "hard"])
@pytest.mark.parametrize("place", PLACES)
def test_links_inside_the_folder_lead_to_nothing_that_is_overwritten(tmp_path: Path, place: str, kind: str) -> None:
    settings, outside = settings_for(tmp_path / "home"), tmp_path / "outside"
    outside.mkdir()
    (outside / "000001.safetensors").write_bytes(b"belongs to somebody else")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    current = build(settings).id
    path = settings.home / place.format(current=current)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "hard":
        path.hardlink_to(outside / "000001.safetensors")
    else:
        path.symlink_to(outside if kind == "folder" else outside / "000001.safetensors")
    if "restoring" in place:
        settings.home.joinpath("store.sqlite3").write_bytes(b"damaged")
    restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    assert (outside / "000001.safetensors").read_bytes() == b"belongs to somebody else"
    assert people_in(settings) == OTHERS | {CANARY}


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_store_that_is_a_link_to_something_else_is_refused(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    (tmp_path / "outside").write_bytes(b"belongs to somebody else")
    path = settings.home / "store.sqlite3"
    path.unlink()
    link(path, tmp_path / "outside")
    with pytest.raises(InvalidInput, match="is a link"):
        restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    assert (tmp_path / "outside").read_bytes() == b"belongs to somebody else"


def test_no_byte_of_the_replaced_people_is_left(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    append(settings, LATER)
    forget_in(settings, CANARY)
    assert traces("came after the backup", settings.home).occurrences
    restore(tmp_path / "old.backup", settings)
    for text in ("came after the backup", CANARY, CANARY_TEXT):
        assert not traces(text, settings.home).occurrences, text
    assert traces("user-1", settings.home).occurrences


def test_a_running_service_has_to_be_stopped_first(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    append(settings, LATER)
    now = time.time_ns() // 1_000_000
    with open_store_of(settings) as store:
        store.beat(Replica("one", this_process_space(), os.getpid(), 5, now))
    with pytest.raises(Busy, match="stop it"):
        restore(backup, settings)
    assert restored_or_old(settings) == "old"
    with open_store_of(settings) as store:
        store.beat(Replica("one", "elsewhere", 1, 5, now - 86_400_000))
    restore(backup, settings)
    with open_store_of(settings) as store:
        assert store.replicas() == []


def test_an_engine_that_knew_the_old_store_answers_nothing_until_there_is_a_new_index(tmp_path: Path) -> None:
    engine = running(tmp_path / "home", log())
    settings, asked = engine.settings, RecommendationRequest("user-1")
    back_up(settings, tmp_path / "old.backup")
    restore(tmp_path / "old.backup", settings, without_later_erasures=True)
    with pytest.raises(NotReady, match="index build"):
        engine.recommend(asked)
    append(settings, LATER)
    with pytest.raises(NotReady, match="index build"):
        engine.recommend(asked)
    build(settings)
    assert engine.refresh()
    assert engine.recommend(asked).provenance.known_user
    engine.close()


def test_without_a_ledger_it_has_to_be_said_that_there_is_none(settings: Settings, backup: Path) -> None:
    append(settings, LATER)
    with pytest.raises(ConfirmationRequired, match="--without-later-erasures"):
        restore(backup, settings)
    assert "later" in people_in(settings)
    restore(backup, settings, without_later_erasures=True)
    assert people_in(settings) == OTHERS | {CANARY}


def test_the_ledger_of_the_file_is_enough(settings: Settings, backup: Path, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    restored = restore(backup, other)
    assert people_in(other) == OTHERS
    assert restored.replayed["erasure"] == 1


def test_the_ledger_that_is_given_is_enough(settings: Settings, backup: Path, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    copy = LedgerFile(settings.ledger_file).read()
    settings.ledger_file.unlink()
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    with pytest.raises(ConfirmationRequired):
        restore(backup, other)
    restore(backup, other, [copy])
    assert people_in(other) == OTHERS
    assert LedgerFile(settings.ledger_file).read() == copy


def test_the_longest_of_all_ledgers_counts(settings: Settings, backup: Path) -> None:
    forget_in(settings, "user-0")
    short = LedgerFile(settings.ledger_file).read()
    forget_in(settings, CANARY)
    settings.ledger_file.unlink()
    LedgerFile(settings.ledger_file).extend(short)
    restored = restore(backup, settings, [short[:1]])
    assert restored.ledger == 4
    assert people_in(settings) == OTHERS - {"user-0"}


def test_a_ledger_older_than_the_backup_is_refused(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, "user-0")
    short = LedgerFile(settings.ledger_file).read()
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    settings.ledger_file.unlink()
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'new.sqlite3'}"})
    with pytest.raises(BrokenLedger, match="older than the backup"):
        restore(tmp_path / "newer.backup", other, [short])
    restored = restore(tmp_path / "newer.backup", other, [short], without_later_erasures=True)
    assert restored.ledger == 4


def test_a_foreign_ledger_is_refused(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    foreign = [make_entry(LedgerTip(0, "0" * 64), "consent", {"subject": "x"}, open_signer(settings))]
    with pytest.raises(BrokenLedger, match="contradict"):
        restore(tmp_path / "newer.backup", settings, [foreign])


def test_a_changed_ledger_is_refused(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    text = settings.ledger_file.read_text()
    settings.ledger_file.write_text(text.replace("complete", "complexe"))
    with pytest.raises(BrokenLedger):
        restore(backup, settings)


def test_an_entry_of_a_kind_from_the_future_is_refused(settings: Settings, backup: Path) -> None:
    entry = make_entry(LedgerTip(0, "0" * 64), "pardon", {}, open_signer(settings))
    with pytest.raises(IncompatibleStore, match="pardon"):
        restore(backup, settings, [[entry]])
    assert CANARY in people_in(settings)


def test_another_pseudonym_key_is_refused(settings: Settings, backup: Path) -> None:
    with pytest.raises(WrongKey, match="pseudonym key"):
        restore(backup, under_another_pseudonym_key(settings), without_later_erasures=True)


def test_another_signing_key_is_refused(settings: Settings, backup: Path) -> None:
    other = Settings.model_validate({**settings.model_dump(), "signing_key": "B" * 43 + "="})
    with pytest.raises(WrongKey, match="RAGREC_SIGNING_KEY"):
        restore(backup, other, without_later_erasures=True)


def test_a_home_without_the_keys_is_refused_and_gets_none(backup: Path, tmp_path: Path) -> None:
    empty = settings_for(tmp_path / "empty")
    with pytest.raises(WrongKey, match="no pseudonym key"):
        restore(backup, empty, without_later_erasures=True)
    assert not empty.home.exists()


def test_it_says_up_to_when_the_ledger_goes(settings: Settings, backup: Path) -> None:
    assert restore(backup, settings, without_later_erasures=True).ledger_until is None
    forget_in(settings, CANARY)
    issued = orjson.loads(LedgerFile(settings.ledger_file).read()[-1].body)["issued"]
    assert restore(backup, settings).ledger_until == issued


def test_a_changed_backup_changes_nothing(settings: Settings, backup: Path) -> None:
    content = backup.read_bytes()
    with tarfile.open(backup) as archive:
        part = next(member for member in archive if member.name.startswith("interactions/"))
    middle = part.offset_data + part.size // 2
    backup.write_bytes(content[:middle] + b"\xff\xfe" + content[middle + 2 :])
    with pytest.raises(InvalidInput, match="not a whole backup"):
        restore(backup, settings, without_later_erasures=True)
    assert people_in(settings) == OTHERS | {CANARY}


def test_a_backup_goes_from_one_database_to_the_other(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, CANARY)
    back_up(settings, tmp_path / "newer.backup")
    rows = rows_of(settings)
    other = settings.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    restore(tmp_path / "newer.backup", other)
    back_up(other, tmp_path / "other.backup")
    assert differing(rows, rows_of(other)) == ["counters"]
    restored = restore(tmp_path / "other.backup", settings)
    assert differing(rows, rows_of(settings)) == ["counters"]
    assert restored.replayed == {}


def test_the_epoch_is_beyond_every_erasure_even_where_the_old_store_is_lost(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    back_up(settings, tmp_path / "old.backup")
    for n in range(20):
        append(settings, Interaction("user-0", ITEMS[0].id, 1000 + n, "like"))
    forget_in(settings, CANARY)
    erased = max(orjson.loads(entry.body).get("epoch", 0) for entry in LedgerFile(settings.ledger_file).read())
    Path(f"{settings.home}/store.sqlite3").unlink()
    assert restore(tmp_path / "old.backup", settings).epoch > erased


def test_a_restored_store_goes_on_as_any_other(settings: Settings, backup: Path) -> None:
    forget_in(settings, CANARY)
    restore(backup, settings)
    forget_in(settings, "user-3")
    back_up(settings, backup.with_name("next.backup"))
    forget_in(settings, "user-2")
    restore(backup.with_name("next.backup"), settings)
    assert people_in(settings) == OTHERS - {"user-2", "user-3"}
    restore(backup, settings)
    assert people_in(settings) == OTHERS - {"user-2", "user-3"}
    assert len(requests(settings)) == 3


def test_every_data_folder_is_known_to_the_restored_store_and_has_to_report_again(
    settings: Settings, tmp_path: Path
) -> None:
    forget_in(settings, CANARY)
    with open_store_of(settings) as store:
        store.put_place(Place("one", "web-1/ab", "/data/one", store.erasure_epoch(), 5))
    back_up(settings, newer := tmp_path / "newer.backup")
    with open_store_of(settings) as store:
        store.put_place(Place("one", "web-1/ab", "/moved/one", store.erasure_epoch(), 6))
        store.put_place(Place("two", "web-2/ab", "/data/two", store.erasure_epoch(), 7))
    restore(newer, settings)
    with open_store_of(settings) as store:
        assert [(place.id, place.path) for place in store.places()] == [("one", "/moved/one"), ("two", "/data/two")]
        assert all(place.epoch < store.erasure_epoch() for place in store.places())
    other = settings.model_copy(update={"home": tmp_path / "other", "store_url": f"sqlite:///{tmp_path / 'o.sqlite3'}"})
    shutil.copytree(settings.keys, other.keys)
    restore(newer, other, without_later_erasures=True)
    with open_store_of(other) as store:
        assert [place.path for place in store.places()] == ["/data/one"]  # of the backup: the store is new
    restore(newer, other, without_later_erasures=True, elsewhere=True)
    with open_store_of(other) as store:
        assert [place.path for place in store.places()] == ["/data/one"]  # the copy knows it already
    drill = other.model_copy(update={"home": tmp_path / "drill", "store_url": f"sqlite:///{tmp_path / 'd.sqlite3'}"})
    shutil.copytree(settings.keys, drill.keys)
    restore(newer, drill, without_later_erasures=True, elsewhere=True)
    with open_store_of(drill) as store:
        assert store.places() == []


def test_a_place_that_was_retired_after_the_backup_is_retired_again(settings: Settings, tmp_path: Path) -> None:
    with open_store_of(settings) as store:
        store.put_place(Place("one", "web-1/ab", "/data/one", 0, 0))
    back_up(settings, old := tmp_path / "with-place.backup")
    with open_store_of(settings) as store:
        retire_place(open_system(settings, store, open_pseudonyms(settings)), "one", "shredded")
    assert restore(old, settings).replayed == {"retirement": 1}
    with open_store_of(settings) as store:
        assert [place.reason for place in store.places()] == ["shredded"]


def test_another_data_folder_destroys_what_it_made_from_the_replaced_store(settings: Settings, tmp_path: Path) -> None:
    url = settings.database_url
    first, second = (settings_for(tmp_path / name, store_url=url) for name in ("home", "second"))
    back_up(first, old := tmp_path / "before.backup")
    shutil.copytree(first.keys, second.keys)
    build(second)
    forget_in(first, CANARY)
    restore(old, first)
    assert list(second.generations.glob("*/manifest.json"))
    with pytest.raises(NotReady, match="index build"):
        engine_of(second)
    assert not [path for path in second.generations.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_service_that_is_silent_and_may_be_stalled_has_to_be_stopped_first(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() // 1_000_000
    with open_store_of(settings) as store:
        store.beat(Replica("stalled", "another-host", 1, store.epoch(), now - EXPIRY_MS + 60_000))
    with pytest.raises(Busy):
        restore(backup, settings, without_later_erasures=True)
    monkeypatch.setattr("rag_rec.presence.replicas.now_ms", lambda: now + 60_001)
    restore(backup, settings, without_later_erasures=True)
