"""The commands on data folders, as an operator calls them."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands import forget as commands
from rag_rec.commands.doctor import State, _places
from rag_rec.home.keys import open_signer
from rag_rec.home.opening import store_of
from rag_rec.places.folder import FILE, read_identity
from rag_rec.places.occupation import Occupation
from rag_rec.settings import Settings
from tests.homes import build, fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log


class Folders:
    """Two data folders on one store, and commands in either."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        url = f"sqlite:///{folder / 'shared.sqlite3'}"
        self.first = settings_for(folder / "first", store_url=url, replica_wait_ms=0)
        self.second = settings_for(folder / "second", store_url=url, replica_wait_ms=0)
        self._patch = patch
        patch.setenv("RAGREC_STORE_URL", url)
        fill(self.first, log())
        open_signer(self.first)
        shutil.copytree(self.first.keys, self.second.keys)
        build(self.first)
        build(self.second)

    def call(self, settings: Settings, *arguments: str) -> dict[str, Any]:
        self._patch.setenv("RAGREC_HOME", str(settings.home))
        result = CliRunner().invoke(commands.app, [*arguments, "--json"])
        answer: dict[str, Any] = orjson.loads(result.stdout)
        assert (result.exit_code == 0) == ("error" not in answer and answer.get("ok", True)), answer
        return answer

    def words(self, settings: Settings, *arguments: str) -> str:
        self._patch.setenv("RAGREC_HOME", str(settings.home))
        return CliRunner().invoke(commands.app, list(arguments), env={"COLUMNS": "200"}).stdout


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    return Folders(tmp_path, monkeypatch)


def listed(folders: Folders) -> dict[str, dict[str, Any]]:
    places = folders.call(folders.first, "place", "list")["places"]
    return {Path(place["path"]).name: place for place in places}


def test_the_list_says_which_folders_are_clean_and_clean_makes_them_so(folders: Folders) -> None:
    assert [place["clean"] for place in listed(folders).values()] == [True, True]
    outcome = forget_in(folders.first, CANARY)
    assert outcome.state == "hidden"
    told = folders.words(folders.first, "forget", "status", outcome.request_id)
    assert ":second" in told
    assert not listed(folders)["second"]["clean"]
    with closing(store_of(folders.first)) as store:
        (finding,) = _places(store)
    assert (finding.state, ":second" in finding.detail) == (State.NOTE, True)
    assert not folders.call(folders.first, "forget", "resume")["ok"]
    done = folders.call(folders.second, "place", "clean")
    assert done["completed"] == 1
    assert folders.call(folders.first, "forget", "resume")["ok"]
    assert [place["clean"] for place in listed(folders).values()] == [True, True]


def test_a_folder_whose_disk_is_gone_is_retired_with_a_reason(folders: Folders) -> None:
    outcome = forget_in(folders.first, CANARY)
    second = listed(folders)["second"]["id"]
    shutil.rmtree(folders.second.home)
    done = folders.call(folders.first, "place", "retire", second, "--reason", "shredded on Monday")
    assert done["completed"] == 1
    assert folders.call(folders.first, "forget", "status", outcome.request_id)["state"] == "complete"
    assert listed(folders)["second"]["reason"] == "shredded on Monday"
    refused = folders.call(folders.first, "place", "retire", second, "--reason", "again")
    assert refused["error"]["code"] == "unknown_place"


def test_a_copy_gets_an_identity_of_its_own(folders: Folders, tmp_path: Path) -> None:
    copy = folders.first.model_copy(update={"home": tmp_path / "copy"})
    shutil.copytree(folders.first.home, copy.home)
    with closing(store_of(folders.first)) as store, closing(Occupation(folders.first, store)):
        assert folders.call(copy, "place", "clean")["error"]["code"] == "copied_folder"
        renewed = folders.call(copy, "place", "renew")
    assert renewed["discarded"] is False
    assert renewed["place"] not in {listed(folders)["first"]["id"], listed(folders)["second"]["id"]}
    assert listed(folders)["copy"]["clean"]


def test_a_folder_of_another_store_is_given_to_this_one_without_what_it_held(folders: Folders, tmp_path: Path) -> None:
    other = settings_for(tmp_path / "other", store_url=f"sqlite:///{tmp_path / 'other.sqlite3'}")
    fill(other, log())
    build(other)
    foreign = other.model_copy(update={"store_url": folders.first.store_url})
    shutil.copy(folders.first.keys / "pseudonym.key", other.keys / "pseudonym.key")
    assert folders.call(foreign, "place", "clean")["error"]["code"] == "foreign_folder"
    assert folders.call(foreign, "place", "renew")["error"]["code"] == "invalid_input"
    assert list(other.generations.glob("*/manifest.json"))
    assert folders.call(foreign, "place", "renew", "--discard")["discarded"] is True
    assert not list(other.generations.glob("*/manifest.json"))
    assert "other" in listed(folders)


def test_an_identity_that_cannot_be_read_is_renewed_without_what_it_held(folders: Folders) -> None:
    (folders.second.home / FILE).write_bytes(b"{")
    assert folders.call(folders.second, "place", "clean")["error"]["code"] == "corrupt_index"
    assert folders.call(folders.second, "place", "renew", "--discard")["discarded"] is True
    assert read_identity(folders.second.home) is not None
