from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from rag_rec.errors import WrongKey
from rag_rec.forgetting.ledger.chain import EMPTY, make_entry
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.home import keys
from rag_rec.home.keys import existing_pseudonyms, existing_signer, key_places, open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.identity.signing import Signer
from rag_rec.settings import Settings
from rag_rec.store.records import Hold
from tests.rag_rec.forgetting.records import accepted

GIVEN = base64.b64encode(bytes(range(32))).decode()
OPENERS: list[Callable[[Settings], object]] = [open_pseudonyms, open_signer]
EVERY: list[Callable[[Settings], object]] = [*OPENERS, existing_pseudonyms, existing_signer]


def settings_for(home: Path, **changes: object) -> Settings:
    return Settings.model_validate({"home": home, **changes})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_read_only_by_their_owner(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    pseudonyms, signer = open_pseudonyms(settings), open_signer(settings)
    assert open_pseudonyms(settings).key_id == pseudonyms.key_id
    assert open_signer(settings).key_id == signer.key_id
    assert sorted(path.name for path in settings.keys.iterdir()) == ["pseudonym.key", "signing.key"]
    assert mode(settings.keys) == 0o700
    assert {mode(path) for path in settings.keys.iterdir()} == {0o600}


def test_two_systems_have_different_keys(tmp_path: Path) -> None:
    one, other = settings_for(tmp_path / "one"), settings_for(tmp_path / "other")
    assert open_pseudonyms(one).key_id != open_pseudonyms(other).key_id
    assert open_signer(one).key_id != open_signer(other).key_id


def test_the_two_keys_of_a_system_differ(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    open_pseudonyms(settings)
    open_signer(settings)
    assert (settings.keys / "pseudonym.key").read_bytes() != (settings.keys / "signing.key").read_bytes()


def test_whoever_comes_at_the_same_time_gets_the_same_key(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_signer, [settings] * 32))
    assert len({signer.key_id for signer in opened}) == 1
    assert [path.name for path in settings.keys.iterdir()] == ["signing.key"]


def test_a_key_that_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = open_pseudonyms(settings).key_id
    keys._make(settings.keys / "pseudonym.key")
    assert open_pseudonyms(settings).key_id == first
    assert [path.name for path in settings.keys.iterdir()] == ["pseudonym.key"]


def test_given_keys_are_used_and_not_written_down(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, pseudonym_key=GIVEN, signing_key=GIVEN)
    again = settings_for(tmp_path / "elsewhere", pseudonym_key=GIVEN + "\n", signing_key=GIVEN)
    assert open_pseudonyms(settings).key_id == open_pseudonyms(again).key_id
    assert open_signer(settings).key_id == open_signer(again).key_id
    assert not settings.keys.exists()


@pytest.mark.parametrize("text", ["", "short", "not base64!", base64.b64encode(b"x" * 31).decode(), GIVEN[:-1]])
@pytest.mark.parametrize("opener", OPENERS)
def test_a_malformed_key_is_refused_and_not_repeated(
    tmp_path: Path, opener: Callable[[Settings], object], text: str
) -> None:
    with pytest.raises(WrongKey, match=r"RAGREC_.*_KEY does not hold 32 bytes") as raised:
        opener(settings_for(tmp_path, pseudonym_key=text, signing_key=text))
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", GIVEN.encode()[:20]])
def test_a_damaged_key_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    settings = settings_for(tmp_path)
    open_pseudonyms(settings)
    path = settings.keys / "pseudonym.key"
    path.write_bytes(content)
    with pytest.raises(WrongKey, match=r"pseudonym\.key does not hold"):
        open_pseudonyms(settings)
    assert path.read_bytes() == content


def test_a_home_that_cannot_hold_keys_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(WrongKey, match="set RAGREC_SIGNING_KEY"):
        open_signer(settings_for(tmp_path / "home"))


@pytest.mark.parametrize("opener", EVERY)
def test_a_key_that_was_used_and_lost_is_not_replaced(tmp_path: Path, opener: Callable[[Settings], object]) -> None:
    settings = settings_for(tmp_path)
    accepted(settings, "ada")
    for path in settings.keys.iterdir():
        path.unlink()
    with pytest.raises(WrongKey, match=r"put .*\.key back from its safe copy"):
        opener(settings)
    assert list(settings.keys.iterdir()) == []


@pytest.mark.parametrize("opener", EVERY)
def test_a_key_that_only_a_hold_needs_is_not_replaced(tmp_path: Path, opener: Callable[[Settings], object]) -> None:
    settings = settings_for(tmp_path)
    open_signer(settings)
    with closing(store_of(settings)) as store:
        store.put_hold(Hold(open_pseudonyms(settings).user("ada"), "case 7", 1000))
    for path in settings.keys.iterdir():
        path.unlink()
    with pytest.raises(WrongKey, match=r"put .*\.key back from its safe copy"):
        opener(settings)
    assert list(settings.keys.iterdir()) == []


@pytest.mark.parametrize("opener", OPENERS)
def test_a_copy_of_the_ledger_needs_its_keys_as_well(tmp_path: Path, opener: Callable[[Settings], object]) -> None:
    settings = settings_for(tmp_path)
    LedgerFile(settings.ledger_file).extend([make_entry(EMPTY, "hold", {"subject": "s"}, Signer(b"s" * 32))])
    with pytest.raises(WrongKey, match="none was made"):
        opener(settings)
    assert not settings.keys.exists()


@pytest.mark.parametrize("opener", [existing_pseudonyms, existing_signer])
def test_only_opening_a_new_system_makes_keys(tmp_path: Path, opener: Callable[[Settings], object]) -> None:
    settings = settings_for(tmp_path / "home")
    with pytest.raises(WrongKey):
        opener(settings)
    assert not settings.home.exists()
    open_pseudonyms(settings)
    open_signer(settings)
    assert sorted(path.name for path in settings.home.iterdir()) == ["keys"]
    opener(settings)


def test_a_key_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    (settings.keys / "signing.key").mkdir(parents=True)
    with pytest.raises(WrongKey, match="cannot be used"):
        open_signer(settings)


def test_it_is_known_where_keys_come_from(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, signing_key=GIVEN)
    assert key_places(settings) == {"pseudonym": None, "signing": "RAGREC_SIGNING_KEY"}
    open_pseudonyms(settings)
    assert key_places(settings)["pseudonym"] == str(settings.keys / "pseudonym.key")
