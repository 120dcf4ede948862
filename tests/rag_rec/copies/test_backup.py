from __future__ import annotations

import hashlib
import io
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rag_rec.copies import backup as backup_module
from rag_rec.copies.backup import MANIFEST, open_backup, write_backup
from rag_rec.domain import Interaction
from rag_rec.errors import IncompatibleStore, InvalidInput, WrongKey
from rag_rec.forgetting.ledger.chain import EMPTY, tip_after
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.identity.signing import Signer
from rag_rec.settings import Settings
from rag_rec.store import archive
from rag_rec.store.archive import ARCHIVED, opened
from tests.homes import ITEMS, fill, settings_for
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import back_up, open_store_of, rows_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_for(tmp_path / "home")
    fill(made, log())
    return made


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]


def write_members(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def read(settings: Settings, path: Path) -> None:
    with open_backup(path, open_signer(settings).verifier) as backup:
        backup.verify()


def test_holds_every_row_and_says_how_far_it_goes(either: Settings, tmp_path: Path) -> None:
    fill(either, log())
    forget_in(either, "user-1")
    told: list[int] = []
    target = tmp_path / "store.backup"
    with opened(either.database_url) as database:
        manifest = write_backup(target, database, "key-id", open_signer(either), told.append)
    rows = rows_of(either)
    with open_backup(target, open_signer(either).verifier) as backup, open_store_of(either) as store:
        assert backup.manifest == manifest
        backup.verify()
        for table in ARCHIVED:
            kept = pl.concat([pl.DataFrame(), *backup.frames(table)], how="diagonal")
            assert kept.equals(rows[table.name]), table.name
        assert backup.ledger() == store.ledger()
        assert manifest.epoch == store.epoch() == backup.counters()["epoch"]
        assert manifest.ledger == tip_after(store.ledger()[-1])
    assert manifest.pseudonym_key == "key-id"
    assert manifest.rows["users"] == 5
    assert manifest.rows["interactions"] == len(log()) - 5
    assert sum(told) == sum(manifest.rows.values())


def test_only_its_owner_reads_it_and_nothing_else_is_left(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    back_up(settings, folder / "store.backup")
    assert [path.name for path in folder.iterdir()] == ["store.backup"]
    assert stat.S_IMODE((folder / "store.backup").stat().st_mode) == 0o600


def test_holds_no_key(settings: Settings, tmp_path: Path) -> None:
    back_up(settings, tmp_path / "store.backup")
    content = (tmp_path / "store.backup").read_bytes()
    keys = [path.read_bytes().strip() for path in settings.keys.iterdir()]
    assert len(keys) == 2
    assert not any(key in content for key in keys)


def test_what_is_written_meanwhile_is_not_in_it(
    either: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "BATCH", 4)
    fill(either, log())
    target, late = tmp_path / "store.backup", Interaction("late", ITEMS[0].id, 5, "other")
    with opened(either.database_url) as database, open_store_of(either) as store:

        def write_late(_: int) -> None:
            store.append([replace(late, time=store.epoch())])

        manifest = write_backup(target, database, "key-id", open_signer(either), write_late)
        assert store.user("late") is not None
    assert manifest.rows["users"] == 6
    assert manifest.rows["interactions"] == len(log())
    assert manifest.ledger == EMPTY
    with open_backup(target, open_signer(either).verifier) as backup:
        assert backup.counters()["epoch"] == manifest.epoch
        assert max(len(frame) for table in ARCHIVED for frame in backup.frames(table)) == 4


def test_a_file_that_exists_is_not_replaced(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "store.backup"
    target.write_bytes(b"precious")
    with pytest.raises(InvalidInput, match="exists"):
        back_up(settings, target)
    assert target.read_bytes() == b"precious"


def test_a_folder_that_does_not_exist_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written: No such file"):
        back_up(settings, tmp_path / "nowhere" / "store.backup")


def test_an_interrupted_backup_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with opened(settings.database_url) as database, pytest.raises(KeyboardInterrupt):
        write_backup(folder / "store.backup", database, "key-id", open_signer(settings), interrupt)
    assert list(folder.iterdir()) == []


def test_any_changed_part_is_found(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    back_up(settings, path)
    whole = members(path)
    for name in whole:
        changed = whole[name][:-20] + bytes([whole[name][-20] ^ 1]) + whole[name][-19:]
        write_members(path, whole | {name: changed})
        with pytest.raises(InvalidInput, match="not a whole backup"):
            read(settings, path)


def test_a_part_that_is_missing_or_is_a_folder_is_found(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    back_up(settings, path)
    whole = members(path)
    part = next(name for name in whole if name.startswith("users"))
    write_members(path, {name: content for name, content in whole.items() if name != part})
    with pytest.raises(InvalidInput, match="missing"):
        read(settings, path)
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo(part)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    with pytest.raises(InvalidInput, match="was changed"):
        read(settings, path)


def test_a_part_with_its_digest_changed_in_the_manifest_is_found(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    manifest = back_up(settings, path)
    whole = members(path)
    part = next(part for part in manifest.parts if part.table == "users")
    forged = whole[part.name] + b"more"
    digest = hashlib.sha256(forged).hexdigest()
    text = whole[MANIFEST].replace(part.sha256.encode(), digest.encode())
    write_members(path, whole | {part.name: forged, MANIFEST: text})
    with pytest.raises(InvalidInput, match="manifest was changed"):
        read(settings, path)


@pytest.mark.parametrize("content", [b"", b"something else", b"\0" * 2048])
def test_another_file_is_no_backup(settings: Settings, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="not a whole backup"):
        read(settings, path)


def test_an_archive_cut_short_is_no_backup(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    back_up(settings, path)
    content = path.read_bytes().rstrip(b"\0")  # an archive ends in zeros
    for length in range(1, len(content), len(content) // 20):
        path.write_bytes(content[:length])
        with pytest.raises(InvalidInput, match="not a whole backup"):
            read(settings, path)


def test_a_manifest_of_another_format_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    back_up(settings, path)
    whole = members(path)
    write_members(path, whole | {MANIFEST: whole[MANIFEST].replace(b"rag-rec/backup/1", b"rag-rec/backup/2")})
    with pytest.raises(InvalidInput, match="not of this format"):
        read(settings, path)


def test_a_file_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        read(settings, tmp_path / "nothing")


def test_another_systems_backup_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "store.backup"
    back_up(settings, path)
    with pytest.raises(WrongKey, match="RAGREC_SIGNING_KEY"), open_backup(path, Signer(b"7" * 32).verifier):
        pass


def test_another_versions_backup_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.backup"
    monkeypatch.setattr(backup_module, "HEAD", "9999")
    back_up(settings, path)
    monkeypatch.undo()
    with pytest.raises(IncompatibleStore, match=r"revision 9999, .* upgrade the store then"):
        read(settings, path)


def test_a_backup_of_an_earlier_version_with_the_same_rows_is_taken(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.backup"
    monkeypatch.setattr(backup_module, "HEAD", "0002")
    back_up(settings, path)
    monkeypatch.undo()
    read(settings, path)


def test_the_forgotten_are_not_in_a_backup_made_afterwards(settings: Settings, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    back_up(settings, before)
    forget_in(settings, CANARY)
    back_up(settings, after)
    assert open_pseudonyms(settings).key_id.encode() in members(after)[MANIFEST]
    held = [members(path)["users/000000.parquet"] for path in (before, after)]
    assert [CANARY in pl.read_parquet(io.BytesIO(content))["id"] for content in held] == [True, False]
