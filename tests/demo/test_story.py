"""The demonstration holds what it claims, at a small size, with the real commands and the real service."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from demo.claims import check
from demo.parameters import WorldParameters
from demo.story import MARKER, Story, next_in_series, place_of, prepare, protagonist
from demo.world import make_world
from rag_rec.errors import InvalidInput, RagRecError

SMALL = WorldParameters(users=40, items=100, mean_interactions=20)


@pytest.mark.integration
def test_whole_demonstration(tmp_path: Path) -> None:
    printed = io.StringIO()
    result = Story(tmp_path / "demo", SMALL, Console(file=printed, width=120)).run()
    assert result["ok"]
    assert orjson.loads(orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS))
    assert result["world"]["items"] == SMALL.items
    assert set(result["recommendations"]) == {"preference", "diversity", "attention"}
    assert result["forget"]["traces_before"]["occurrences"] > 0
    assert result["forget"]["traces_after"]["occurrences"] == 0
    assert (result["unlearn"]["before"], result["unlearn"]["after"]) == (["adapter"], [])
    assert result["proof"]["equal"]
    assert result["rebuild"]["failed"] == 0
    assert result["compact"]["adapter"]
    assert "nothing has changed" in result["debias"]["refused"] or "people can be asked" in result["debias"]["refused"]
    for title in (
        "Ingest",
        "Build",
        "Train the LLM",
        "Serve",
        "Recommend",
        "Debias",
        "Learn",
        "Forget",
        "Unlearn",
        "Prove",
        "Rebuild",
        "Everything held",
    ):
        assert title in printed.getvalue()


def test_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(InvalidInput, match="not a demonstration's"):
        prepare(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_earlier_demonstration_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    prepare(folder, SMALL)
    (folder / "home").mkdir()
    (folder / "home" / "old").write_text("old")
    prepare(folder, SMALL)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_protagonist_has_a_history_of_middle_length() -> None:
    world = make_world(SMALL)
    hero = protagonist(world)
    own = sum(row.user_id == hero for row in world.interactions)
    others = sorted(sum(row.user_id == person.user.id for row in world.interactions) for person in world.people)
    assert own >= others[len(others) // 2]


def test_claim_that_does_not_hold_ends_the_demonstration() -> None:
    check(holds=True, claim="holds")
    with pytest.raises(RagRecError, match="should hold and does not: this one"):
        check(holds=False, claim="this one")


def test_next_part_is_one_that_the_user_has_not_seen() -> None:
    world = make_world(SMALL)
    user = world.people[0].user.id
    seen = {row.item_id for row in world.interactions if row.user_id == user}
    number = {film.item.id: place for place, film in enumerate(world.films)}
    taken, sequel = next_in_series(world, user, [item.id for item in world.items])
    assert sequel is not None
    assert sequel not in seen
    film, following = world.films[number[taken]], world.films[number[sequel]]
    assert (following.series, following.part) == (film.series, film.part + 1)
    alone = next(film.item.id for film in world.films if film.series < 0)
    assert next_in_series(world, user, [alone]) == (alone, None)


def test_place_of_an_item_in_an_answer() -> None:
    answer = {"items": [{"item_id": "a"}, {"item_id": "b"}]}
    assert [place_of(item, answer) for item in ("a", "b", "c")] == [1, 2, None]
