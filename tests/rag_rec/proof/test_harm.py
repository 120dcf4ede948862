from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from rag_rec.candidates.query import CandidateList, Query
from rag_rec.candidates.reranker import Reranker
from rag_rec.domain import AttributeValue, Interaction, User
from rag_rec.engine.engine import Engine
from rag_rec.evaluation.ranking import rank_biased_overlap
from rag_rec.proof.harm import NEIGHBOURS, OTHERS, Before, Extent, HarmReport, HarmRow, assess, photograph
from rag_rec.proof.table import compare
from rag_rec.proof.twin import Twin, build_twin
from tests.homes import ITEMS, engine_of, running, settings_for
from tests.rag_rec.forgetting.asking import forget_all
from tests.rag_rec.forgetting.homes import DAY, number_of

USERS = 60
GONE = ["user-0", "user-3", "user-6", "user-9"]


def attributes_of(user: int) -> dict[str, AttributeValue]:
    rare = {"rare": "yes"} if user in (1, 2) else {"rare": "no"}
    likes: tuple[str, ...] = ("sea", "steel") if user % 5 == 0 else ("sea",)
    return {"side": "left" if user % 3 == 0 else "right", "zip": f"{user:05}", "same": True, "likes": likes, **rare}


def events() -> list[Interaction]:
    """Those on the left walk through the items forwards, those on the right backwards; one has a single event."""
    draws, rows = np.random.default_rng(5), []
    for user in range(USERS - 1):
        step = 1 if user % 3 == 0 else -1
        start, length = int(draws.integers(12)), int(draws.integers(3, 8))
        for n in range(length):
            rows.append(Interaction(f"user-{user}", ITEMS[(start + step * n) % 12].id, (100 + n) * DAY, "like"))
    return [*rows, Interaction(f"user-{USERS - 1}", ITEMS[0].id, DAY, "like")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine = running(tmp_path_factory.mktemp("home"), events(), reranker=Reranker.default())
    for user in range(USERS):
        engine.put_user(User(f"user-{user}", attributes_of(user)))
    engine.close()
    return engine.settings.home


@pytest.fixture
def engine(home: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copytree(home, tmp_path / "copy")
    engine = engine_of(settings_for(tmp_path / "copy"))
    yield engine
    engine.close()


def photographed(engine: Engine, users: list[str], extent: Extent | None = None) -> Before:
    numbers = [number_of(engine.store, user) for user in users]
    return photograph(engine.live, engine.store, numbers, engine.settings, extent)


def twin_of(engine: Engine) -> Twin:
    return build_twin(engine.live, engine.store, engine.settings, engine.embedder)


def report_of(engine: Engine, before: Before, users: list[str]) -> HarmReport:
    forget_all(engine.officer, *users)
    return assess(before, engine.live, twin_of(engine))


def test_the_groups_and_who_is_in_them(engine: Engine) -> None:
    before = photographed(engine, GONE)
    gone = {number_of(engine.store, user) for user in GONE}
    assert set(before.groups) == {
        NEIGHBOURS, OTHERS, "side = left", "side = right", "rare = no", "likes = sea", "likes = steel"
    }  # fmt: skip
    assert before.omitted == 1  # rare = yes, of two users; a value that all share, or nobody else has, makes no group
    assert not gone & set(before.questions)
    left = {number_of(engine.store, f"user-{user}") for user in range(0, USERS, 3)} - gone
    assert set(before.groups["side = left"]) == left
    assert not set(before.groups[NEIGHBOURS]) & set(before.groups[OTHERS])
    assert 10 <= len(before.groups[NEIGHBOURS]) <= 40
    assert number_of(engine.store, f"user-{USERS - 1}") not in before.questions  # one positive is not enough


def test_neighbours_are_those_with_the_nearest_profiles(engine: Engine) -> None:
    gone = [number_of(engine.store, user) for user in GONE]
    before = photographed(engine, GONE, Extent(neighbours=3, smallest=1))
    profiles = {user: engine.live.people.profile(user) for user, _ in engine.live.people.histories()}
    expected = set()
    for user in gone:
        mine = profiles[user]
        assert mine is not None
        rest = [(-float(np.float32(other @ mine)), n) for n, other in profiles.items() if other is not None]
        expected |= {n for _, n in sorted(pair for pair in rest if pair[1] not in gone)[:3]}
    asked = {user for user in expected if user in before.questions}
    assert set(before.groups[NEIGHBOURS]) == asked


def test_a_question_hides_its_answer_and_nothing_else(engine: Engine) -> None:
    before = photographed(engine, GONE)
    for user, asked in before.questions.items():
        history = engine.live.people.history(user)
        positives = engine.live.positives(history)
        assert asked.answer == positives["item"][-1]
        assert asked.query.positives.tobytes() == positives[:-1].tobytes()
        assert set(asked.query.seen.tolist()) == set(history["item"].tolist()) - {asked.answer}
        assert asked.answer in before.lists[user]
        profile = engine.live.people.profile(user)
        assert asked.query.profile is not None
        assert profile is not None
        assert not np.allclose(asked.query.profile, profile)


def test_answers_are_held_out_of_the_counts_while_they_are_asked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, seen = engine.live, []
    twin, ask = twin_of(engine), live.model.candidates

    def asked(query: Query, n: int) -> CandidateList:
        seen.append((int(live.statistics.popularity.total.sum()), live.statistics.sequences.rows))
        return ask(query, n)

    monkeypatch.setattr(live.model, "candidates", asked)
    before = photographed(engine, GONE)
    held = int(live.statistics.popularity.total.sum())
    assert set(seen) == {(held - len(before.questions),) * 2}
    assert compare(live, twin).equal  # and put back


def test_after_a_removal_everybody_is_told_what_the_twin_tells(engine: Engine) -> None:
    report = report_of(engine, photographed(engine, GONE), GONE)
    assert report.as_twin
    assert [(row.ndcg_change_twin, row.rbo_twin) for row in report.rows] == [(0.0, 1.0)] * len(report.rows)
    for row in report.rows:
        assert row.ndcg_change == pytest.approx(row.ndcg_after - row.ndcg_before)
        assert row.ndcg_low <= row.ndcg_change <= row.ndcg_high
        assert 0 < row.rbo_low <= row.rbo <= row.rbo_high <= 1
    assert min(row.rbo for row in report.rows) < 1.0  # a batch of 60 users changes some lists


def test_the_figures_are_those_of_the_lists(engine: Engine) -> None:
    before = photographed(engine, GONE)
    report = report_of(engine, before, GONE)
    users = before.groups[OTHERS]
    twin = twin_of(engine).live
    wholes = {user: twin.positives(twin.people.history(user)) for user in before.questions}
    for user, whole in wholes.items():
        twin.statistics.replace(whole, whole[whole["item"] != before.questions[user].answer])
    twin.statistics.flush()
    after = {user: twin.model.candidates(before.questions[user].query, before.depth).items for user in users}
    gains, overlaps = [], []
    for user in users:
        place = after[user].tolist().index(before.questions[user].answer)
        gains.append(1 / np.log2(place + 2) if place < 10 else 0.0)
        overlaps.append(rank_biased_overlap(before.lists[user].tolist(), after[user].tolist()))
    row = next(row for row in report.rows if row.group == OTHERS)
    assert row.users == len(users)
    assert row.ndcg_after == pytest.approx(np.mean(gains))
    assert row.rbo == pytest.approx(np.mean(overlaps))


def test_a_removal_that_went_wrong_is_told_from_the_twin(engine: Engine) -> None:
    before = photographed(engine, GONE)
    forget_all(engine.officer, *GONE)
    twin = twin_of(engine)
    reranker = engine.live.reranker
    engine.live.model.reranker = replace(reranker, fine_weights=-reranker.fine_weights)
    report = assess(before, engine.live, twin)
    assert not report.as_twin
    assert max(row.rbo_twin for row in report.rows) < 1.0


def test_who_is_forgotten_meanwhile_is_left_out(engine: Engine) -> None:
    before = photographed(engine, GONE)
    users = [f"user-{user}" for user in range(USERS) if user % 3]  # everybody on the right
    report = report_of(engine, before, [*GONE, *users])
    groups = {row.group: row.users for row in report.rows}
    assert "side = right" not in groups
    assert groups["side = left"] == len(before.groups["side = left"])


def test_the_work_is_bounded(engine: Engine) -> None:
    extent = Extent(neighbours=5, searched=2, most_neighbours=10, pool=40, group=12, grouped=24, others=11, smallest=4)
    before = photographed(engine, GONE, extent)
    assert len(before.groups[NEIGHBOURS]) <= 10
    assert len(before.groups[OTHERS]) <= 11
    sizes = [len(users) for name, users in before.groups.items() if "=" in name]
    assert sizes
    assert max(sizes) <= 4


def test_the_seed_decides_who_is_asked(engine: Engine) -> None:
    extent = Extent(others=15)
    first, second = (photographed(engine, GONE, extent) for _ in range(2))
    assert first.groups == second.groups
    other = photograph(engine.live, engine.store, [], settings_for(engine.settings.home, seed=1), extent)
    assert other.groups[OTHERS] != first.groups[OTHERS]


def test_a_person_without_a_profile_has_no_neighbours(engine: Engine) -> None:
    engine.add_interactions("newcomer", [Interaction("newcomer", ITEMS[0].id, 300 * DAY, "skip")])
    before = photographed(engine, ["newcomer"])
    assert NEIGHBOURS not in before.groups


def test_the_report_is_plain_json_and_names_nobody(engine: Engine) -> None:
    table = report_of(engine, photographed(engine, GONE), GONE).table()
    text = orjson.dumps(table).decode()
    assert orjson.loads(text) == table
    assert table["as_twin"] is True
    assert "user-" not in text
    assert "zip" not in text
    assert list(table["rows"][0]) == [field.name for field in fields(HarmRow)]
    assert "too few of their users could be asked: 1" in table["notes"][-1]
