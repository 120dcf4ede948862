from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from rag_rec.commands import forget as commands
from rag_rec.commands import forget_batch as batch
from rag_rec.forgetting.saga import Saga
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.forgetting.homes import CANARY, DAY, log
from tests.rag_rec.forgetting.stores import identities_of


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RAGREC_HOME", str(tmp_path / "home"))
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    return settings


def call(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(commands.app, ["forget", *map(str, arguments), "--json"])
    answer: dict[str, Any] = orjson.loads(result.stdout)
    assert (result.exit_code == 0) == ("error" not in answer and answer.get("ok", True)), answer
    return answer


def words(*arguments: str | Path) -> str:
    result = CliRunner().invoke(commands.app, ["forget", *map(str, arguments)], env={"COLUMNS": "80"})
    assert not any(trace in result.stdout for trace in ("None", "()", "',", "{", "True"))
    assert result.exit_code == 0, result.output
    return result.stdout


def confirmed(*arguments: str | Path, subject: str) -> dict[str, Any]:
    plan = call(*arguments, "--dry-run")
    return call(*arguments, "--confirm", subject, "--plan", plan["plan"])


@pytest.mark.usefixtures("settings")
def test_a_user_is_forgotten_after_a_dry_run() -> None:
    plan = call("user", CANARY, "--dry-run")
    assert (plan["users"], plan["interactions"]) == (1, 6)
    assert call("user", CANARY)["error"]["code"] == "confirmation_required"
    assert call("user", CANARY, "--confirm", CANARY, "--plan", "0" * 64)["error"]["code"] == "plan_changed"
    wrong = call("user", CANARY, "--confirm", "user-1", "--plan", plan["plan"])["error"]
    assert (wrong["code"], "does not repeat the user's id" in wrong["message"]) == ("confirmation_required", True)
    done = call("user", CANARY, "--confirm", CANARY, "--plan", plan["plan"])
    assert (done["state"], done["removed"]) == ("complete", {"interactions": 6, "users": 1})
    assert call("user", CANARY, "--dry-run")["error"]["code"] == "unknown_user"


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        (["--item", ITEMS[0].id, "--item", ITEMS[1].id], 2),
        (["--before", "1970-07-22T00:00:00Z"], 2),
        (["--after", "1970-07-22"], 4),
        (["--after", "1970-07-21T00:00:00+00:00", "--before", "1970-07-23", "--item", ITEMS[1].id], 1),
    ],
)
@pytest.mark.usefixtures("settings")
def test_interactions_are_forgotten_by_item_and_time(options: list[str], gone: int) -> None:
    assert 202 * DAY == 17_452_800_000  # 22 July 1970
    assert confirmed("interactions", CANARY, *options, subject=CANARY)["removed"]["interactions"] == gone


def test_interactions_are_forgotten_by_id(settings: Settings) -> None:
    store = store_of(settings)
    found = store.user(CANARY)
    assert found is not None
    first = store.interactions(found[0])[0].number
    store.close()
    options = "interactions", CANARY, "--id", str(first)
    assert call(*options, "--dry-run")["interaction_ids"] == [first]
    assert f"interaction_ids: {first}\n" in words(*options, "--dry-run")
    assert call(*options, "--id", "1", "--dry-run")["error"]["message"].startswith("Id 1 is no interaction of this")
    assert confirmed(*options, subject=CANARY)["removed"]["interactions"] == 1


@pytest.mark.usefixtures("settings")
def test_many_interactions_are_counted_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_rec.forgetting.plan.LISTED", 2)
    assert " and 4 more\n" in words("interactions", CANARY, "--after", "1970-01-01", "--dry-run")
    assert "interaction_ids" not in words("user", CANARY, "--dry-run")


@pytest.mark.usefixtures("settings")
def test_a_dry_run_with_a_confirmation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(CANARY)
    for arguments in (["user", CANARY], ["interactions", CANARY, "--id", "1"], ["batch", path]):
        answer = call(*arguments, "--dry-run", "--confirm", CANARY)["error"]
        assert answer["code"] == "invalid_input"
        assert "nothing to confirm" in answer["message"]


def test_people_on_hold_are_told_by_line(settings: Settings, tmp_path: Path) -> None:
    with identities_of(settings) as identities:
        identities.hold(CANARY, "case 7")
    path = tmp_path / "people.txt"
    path.write_text(f"\nuser-1\n{CANARY}\n")
    planned = call("batch", path, "--dry-run")
    assert (planned["held"], planned["held_at"]) == (["case 7"], [3])
    assert "held: line 3: case 7\n" in words("batch", path, "--dry-run")
    refused = call("batch", path, "--no-report", "--confirm", "2", "--plan", planned["plan"])["error"]
    assert (refused["code"], refused["message"][:36]) == ("legal_hold", "Line 3 names a person who may not be")


@pytest.mark.usefixtures("settings")
def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(f"{CANARY} \n", encoding="utf-8-sig")
    assert call("batch", path, "--dry-run")["users"] == 1


@pytest.mark.usefixtures("settings")
def test_a_time_that_is_none_is_refused() -> None:
    answer = call("interactions", CANARY, "--before", "yesterday", "--dry-run")
    assert answer["error"]["code"] == "invalid_input"
    assert "ISO 8601" in answer["error"]["message"]


@pytest.mark.usefixtures("settings")
def test_a_batch_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(f"user-1\n\n  {CANARY}\n")
    done = confirmed("batch", path, "--no-report", subject="2")
    assert done["removed"]["users"] == len(done["requests"]) == 2
    status = call("status", done["request_id"])
    assert [each["request"] for each in status["requests"]] == done["requests"]
    assert done["lines"] == [1, 3]
    assert {each["state"] for each in status["requests"]} == {"complete"}
    assert (status["request"], status["batch"], status["state"]) == (None, done["request_id"], "complete")
    assert status["removed"] == done["removed"]
    one = call("status", done["requests"][0])
    assert (one["request"], one["batch"]) == (done["requests"][0], done["request_id"])
    assert call("list")["count"] == 2
    assert call("list", "--pending") == {"count": 0, "requests": []}
    assert CANARY not in str(status)


@pytest.mark.usefixtures("settings")
def test_a_batch_with_a_report_needs_an_index(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(CANARY)
    plan = call("batch", path, "--dry-run")["plan"]
    assert call("batch", path, "--confirm", "1", "--plan", plan)["error"]["code"] == "not_ready"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
@pytest.mark.usefixtures("settings")
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "people.txt"
    if content is not None:
        path.write_bytes(content)
    assert call("batch", path, "--dry-run")["error"]["code"] == "invalid_input"


@pytest.mark.usefixtures("settings")
def test_what_is_unfinished_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = call("user", CANARY, "--dry-run")["plan"]
    with monkeypatch.context() as patched:
        patched.setattr(Saga, "_carry_out", lambda *_: 1 / 0)
        CliRunner().invoke(commands.app, ["forget", "user", CANARY, "--confirm", CANARY, "--plan", plan])
        pending = call("list", "--pending")["requests"]
    assert [each["state"] for each in pending] == ["hidden"]
    assert call("resume") == {"ok": True, "completed": 1, "pending": []}
    assert call("resume") == {"ok": True, "completed": 0, "pending": []}


@pytest.mark.usefixtures("settings")
def test_what_cannot_be_finished_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = call("user", CANARY, "--dry-run")["plan"]
    monkeypatch.setattr("rag_rec.store.sql.SqlStore.scrub_pending", lambda _: True)
    done = call("user", CANARY, "--confirm", CANARY, "--plan", plan)
    assert done["state"] == "hidden"
    waiting = words("status", done["request_id"])
    assert "waits for: store (until 20" in waiting
    assert "erased" not in waiting
    again = call("resume")
    assert (again["ok"], again["pending"][0]["request"]) == (False, done["request_id"])


@pytest.mark.usefixtures("settings")
def test_an_unknown_request_is_an_error() -> None:
    assert call("status", "0" * 32)["error"]["code"] == "unknown_request"


@pytest.mark.usefixtures("settings")
def test_words_name_whole_ids_and_no_python(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(f"user-1\n{CANARY}\n")
    planned = words("batch", path, "--dry-run")
    plan = call("batch", path, "--dry-run")["plan"]
    assert f"plan: {plan}\n" in planned
    assert "statistics: known to a running service only\n" in planned
    assert "profile_vectors: known to a running service only\n" in planned
    printed = words("batch", path, "--no-report", "--confirm", "2", "--plan", plan)
    done = call("batch", path, "--no-report", "--confirm", "2", "--plan", plan)
    first, second = done["requests"]
    assert f"requests:\n  line  request\n  1     {first}\n  2     {second}\n" in printed
    assert CANARY not in printed
    status = words("status", done["request_id"])
    assert status.startswith(f"batch: {done['request_id']}\n")
    assert "removed: interactions 11, users 2\n" in status
    shown = (status, words("list"), words("list", "--pending"), words("resume"))
    assert [sum(request in text for request in done["requests"]) for text in shown] == [2, 2, 0, 0]
    one = words("status", done["requests"][1])
    assert one.startswith(f"request: {done['requests'][1]}\nbatch: {done['request_id']}\nsubject: hmac-sha256:")
    assert all(part in one for part in ("accepted: 20", "  erased     20", "receipt: revision 1 (rag-rec receipt show"))
    assert "waits for" not in status + one
    assert "requests" not in one


@pytest.mark.usefixtures("settings")
def test_the_requests_about_a_person_are_found_by_id() -> None:
    assert call("find", CANARY) == {"count": 0, "requests": []}
    done = confirmed("user", CANARY, subject=CANARY)
    confirmed("user", "user-1", subject="user-1")
    found = call("find", CANARY)
    assert (found["count"], found["requests"][0]["request"]) == (1, done["request_id"])
    assert done["request_id"] in words("find", CANARY)


@pytest.mark.usefixtures("settings")
def test_what_is_wrong_in_a_file_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.write_text(f"user-1\n\nnobody\n{CANARY}\nno one\n")
    for arguments in (["--dry-run"], ["--no-report", "--confirm", "4", "--plan", "0" * 64]):
        answer = call("batch", path, *arguments)["error"]
        assert answer["code"] == "unknown_user"
        assert answer["message"].startswith("Lines 3 and 5 name no user")
    path.write_text(f"\nuser-1\n{CANARY}\nnobody\nuser-1\n")
    answer = call("batch", path, "--dry-run")["error"]
    assert (answer["code"], answer["message"][:12]) == ("invalid_input", "Line 5 names")
    assert "Line 4 names no user of the store" in answer["message"]


def test_a_batch_is_reported_on(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(settings)
    monkeypatch.setattr(batch, "open_embedder", lambda *_: HashEmbedder())
    monkeypatch.setenv("RAGREC_INTEREST_CLUSTERS", "4")
    path = tmp_path / "people.txt"
    path.write_text(CANARY)
    plan = call("batch", path, "--dry-run")["plan"]
    done = words("batch", path, "--confirm", "1", "--plan", plan)
    assert "Against the twin: no difference\n" in done
    assert "as_twin" not in done
