from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.artifacts.signature import Signed
from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Forgotten, InvalidInput, WrongKey
from rag_rec.home.opening import close_home, store_of
from rag_rec.index.generation import Generations
from rag_rec.index.signed import signature_of
from rag_rec.settings import Settings
from tests import homes
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.records import accepted


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


def modes(home: Path) -> dict[str, int]:
    """The permission bits of everything under a home, and of itself."""
    paths = [home, *home.rglob("*")]
    return {str(path.relative_to(home.parent)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


def loose(home: Path) -> dict[str, str]:
    return {name: oct(mode) for name, mode in modes(home).items() if mode & 0o077}


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_nothing_that_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    settings = homes.settings_for(tmp_path / "deep" / "home")
    engine = homes.running(settings.home, log())
    try:
        assert (settings.home / "store.sqlite3-wal").exists()  # as long as it is open
        assert loose(settings.home) == {}
    finally:
        engine.close()
    forget_in(settings, CANARY)
    homes.build(settings, fresh=True)
    assert {"keys", "generations", "ledger.jsonl", ".forget.lock"} <= {path.name for path in settings.home.iterdir()}
    assert loose(settings.home) == {}
    assert stat.S_IMODE(settings.home.parent.stat().st_mode) == 0o700


def opened_up(home: Path) -> None:
    """Give everything but the keys the rights that an earlier version, or a careless copy, left it with."""
    for path in [home, *home.rglob("*")]:
        if path.suffix != ".key":
            path.chmod(0o777 if path.is_dir() else 0o666)


def test_a_home_that_was_left_open_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    settings = homes.settings_for(tmp_path / "home")
    homes.running(settings.home, log()).close()
    opened_up(settings.home)
    store_of(settings).close()
    assert loose(settings.home) == {}


def test_a_home_behind_a_link_is_closed_where_it_lies(tmp_path: Path) -> None:
    settings = homes.settings_for(tmp_path / "home")
    homes.running(settings.home, log()).close()
    opened_up(settings.home)
    (tmp_path / "link").symlink_to(settings.home)
    close_home(homes.settings_for(tmp_path / "link"))
    assert loose(settings.home) == {}


def test_a_folder_in_which_other_things_lie_stays_as_it_is_but_ours_are_closed(tmp_path: Path) -> None:
    settings = homes.settings_for(tmp_path / "home")
    homes.running(settings.home, log()).close()
    (settings.home / "public.html").touch()
    opened_up(settings.home)
    close_home(settings)
    assert loose(settings.home) == {"home": "0o777", "home/public.html": "0o666"}


@pytest.mark.parametrize("name", ["pseudonym", "signing"])
def test_a_key_that_others_can_read_is_refused_and_not_closed(tmp_path: Path, name: str) -> None:
    settings = homes.settings_for(tmp_path / "home")
    homes.running(settings.home, log()).close()
    key = settings.keys / f"{name}.key"
    key.chmod(0o666)
    with pytest.raises(WrongKey, match=f"chmod 600 {key}"):
        homes.engine_of(settings)
    assert stat.S_IMODE(key.stat().st_mode) == 0o666  # whoever could read it may know it: an operator has to see this


def test_builds_and_removals_sign_what_they_publish(tmp_path: Path) -> None:
    settings = homes.settings_for(tmp_path / "home")
    homes.running(settings.home, log()).close()
    built = Generations(settings.generations).current()
    assert signature_of(built, settings) is Signed.BY_THIS_SYSTEM
    forget_in(settings, CANARY)
    successor = Generations(settings.generations).current()
    assert successor.id != built.id
    assert signature_of(successor, settings) is Signed.BY_THIS_SYSTEM
