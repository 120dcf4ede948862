"""The simulated world: reproducible, with the structure and the biases that its parameters say."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from demo.behaviour import Cause, Market
from demo.parameters import DAY_MS, WorldParameters
from demo.vocabulary import GENRES, SUB_GENRES
from demo.world import INTERACTIONS, ITEMS, TRUTH, USERS, World, make_world, write_world

SMALL = WorldParameters(users=300, items=400, mean_interactions=30, review_share=0.08)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL)


def genre_share(world: World, gender: str, genre: str) -> float:
    genres = {film.item.id: SUB_GENRES[film.kind].genre for film in world.films}
    members = {person.user.id for person in world.people if person.user.attributes["gender"] == gender}
    chosen = [genres[row.item_id] for row in world.interactions if row.user_id in members]
    return chosen.count(genre) / len(chosen)


def pull_of_exposure(world: World) -> float:
    """Correlation over the films of log exposure with log count."""
    counts = Counter(row.item_id for row in world.interactions)
    exposure = np.log([film.exposure for film in world.films])
    return float(np.corrcoef(exposure, np.log1p([counts[item.id] for item in world.items]))[0, 1])


def test_same_parameters_give_the_same_files(world: World, tmp_path: Path) -> None:
    write_world(world, tmp_path / "first")
    write_world(make_world(SMALL), tmp_path / "second")
    for name in (ITEMS, USERS, INTERACTIONS, TRUTH):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_another_seed_gives_another_world(world: World) -> None:
    other = make_world(replace(SMALL, seed=1))
    assert [item.text for item in other.items] != [item.text for item in world.items]
    assert list(other.interactions) != list(world.interactions)


def test_sizes_and_titles(world: World) -> None:
    assert (len(world.items), len(world.users)) == (SMALL.items, SMALL.users)
    assert len({item.attributes["title"] for item in world.items}) == SMALL.items
    assert {SUB_GENRES[film.kind].genre for film in world.films} == set(GENRES)
    assert 0.3 < sum(film.series >= 0 for film in world.films) / SMALL.items < 0.7


def test_nobody_takes_a_film_twice_and_everybody_has_a_history(world: World) -> None:
    pairs = [(row.user_id, row.item_id) for row in world.interactions]
    assert len(set(pairs)) == len(pairs)
    lengths = Counter(user for user, _ in pairs)
    assert set(lengths) == {user.id for user in world.users}
    assert 0.8 * SMALL.mean_interactions < np.mean(list(lengths.values())) < 1.2 * SMALL.mean_interactions


def test_times_rise_for_each_person_and_stay_in_the_two_years(world: World) -> None:
    times: dict[str, list[int]] = {}
    for row in world.interactions:
        times.setdefault(row.user_id, []).append(row.time)
    for own in times.values():
        assert all(earlier < later for earlier, later in itertools.pairwise(own))
    every = [row.time for row in world.interactions]
    assert every == sorted(every)
    assert SMALL.end_ms - SMALL.days * DAY_MS <= every[0] < every[-1] < SMALL.end_ms


def test_causes_have_the_planted_shares(world: World) -> None:
    shares = world.shares()
    steered = sum(user.attributes["gender"] in SMALL.steering for user in world.users) / SMALL.users
    assert shares[Cause.POPULARITY] == pytest.approx(SMALL.popularity_share, abs=0.02)
    assert shares[Cause.GROUP] == pytest.approx(SMALL.group_bias * steered, abs=0.02)


def test_steering_is_the_only_difference_between_groups(world: World) -> None:
    fair = make_world(replace(SMALL, group_bias=0.0))
    for gender, other, genre in (("female", "male", "Romance"), ("male", "female", "Action")):
        planted = genre_share(world, gender, genre) - genre_share(world, other, genre)
        assert planted > 0.75 * SMALL.group_bias
        assert abs(genre_share(fair, gender, genre) - genre_share(fair, other, genre)) < 0.05


def test_exposure_concentrates_the_log_only_when_planted(world: World) -> None:
    fair = make_world(replace(SMALL, popularity_bias=0.0, popularity_share=0.0))
    assert pull_of_exposure(world) > 0.5
    assert abs(pull_of_exposure(fair)) < 0.15
    appeal = [film.appeal for film in world.films]
    exposure = [film.exposure for film in world.films]
    assert abs(np.corrcoef(appeal, exposure)[0, 1]) < 0.15


def test_pushed_films_are_rated_lower(world: World) -> None:
    stars: dict[Cause, list[float]] = {cause: [] for cause in Cause}
    for row, choice in zip(world.interactions, world.choices, strict=True):
        if row.value is not None:
            stars[choice.cause].append(row.value)
    interest = np.mean(stars[Cause.INTEREST])
    for cause in (Cause.POPULARITY, Cause.GROUP):
        assert interest - np.mean(stars[cause]) > 0.5 * SMALL.pushed_penalty


def next_of_kind_share(world: World) -> float:
    """Share of the steps from one choice of interest to the next that stay in the sub-genre."""
    kinds = {film.item.id: film.kind for film in world.films}
    own: dict[str, list[int]] = {}
    for row, choice in zip(world.interactions, world.choices, strict=True):
        if choice.cause is Cause.INTEREST:
            own.setdefault(row.user_id, []).append(kinds[row.item_id])
    steps = [earlier == later for kinds in own.values() for earlier, later in itertools.pairwise(kinds)]
    return sum(steps) / len(steps)


def test_order_carries_information(world: World) -> None:
    without = make_world(replace(SMALL, continue_series=0.0, stay=0.0))
    assert next_of_kind_share(world) > next_of_kind_share(without) + 0.2
    assert sum(choice.continued for choice in world.choices) > 0.05 * len(world.choices)
    assert not any(choice.continued for choice in without.choices)


def test_interests_drift(world: World) -> None:
    for person in world.people:
        before, after = set(np.flatnonzero(person.early)), set(np.flatnonzero(person.late))
        assert len(before) == len(after) == SMALL.interests
        assert len(before & after) == SMALL.interests - round(SMALL.drift * SMALL.interests)
        assert person.interests(0.3).sum() == pytest.approx(1.0)
    settled = make_world(replace(SMALL, drift=0.0))
    assert all(np.array_equal(person.early, person.late) for person in settled.people)


def test_files_hold_what_the_world_holds_and_never_the_truth(world: World, tmp_path: Path) -> None:
    write_world(world, tmp_path)
    items = [orjson.loads(line) for line in (tmp_path / ITEMS).read_bytes().splitlines()]
    assert [row["item_id"] for row in items] == [item.id for item in world.items]
    with (tmp_path / INTERACTIONS).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item_id"] for row in rows] == [row.item_id for row in world.interactions]
    assert {row["event"] for row in rows} == {"rating", "watchlist"}
    assert any(row["text"] for row in rows)
    assert not {"cause", "appeal", "exposure", "kind"} & (set(rows[0]) | set(items[0]))
    truth = orjson.loads((tmp_path / TRUTH).read_bytes())
    assert len(truth["causes"]) == len(world.interactions)
    assert truth["parameters"]["group_bias"] == SMALL.group_bias


def onward_share(world: World) -> float:
    """Share of the steps between choices of interest that move on to the sub-genre that the last one leads to."""
    leads_to = Market(world.films, world.parameters).leads_to
    kinds = {film.item.id: film.kind for film in world.films}
    own: dict[str, list[int]] = {}
    for row, choice in zip(world.interactions, world.choices, strict=True):
        if choice.cause is Cause.INTEREST:
            own.setdefault(row.user_id, []).append(kinds[row.item_id])
    steps = [leads_to[earlier] == later for kinds in own.values() for earlier, later in itertools.pairwise(kinds)]
    return float(np.mean(steps))


def test_sub_genres_lead_to_one_another_only_when_planted(world: World) -> None:
    assert onward_share(world) > 0.3
    assert onward_share(make_world(replace(SMALL, onward=0.0))) < 0.1


def test_all_sub_genres_lie_on_one_round(world: World) -> None:
    leads_to = Market(world.films, world.parameters).leads_to
    seen, kind = [], 0
    for _ in leads_to:
        seen.append(kind)
        kind = int(leads_to[kind])
    assert (kind, sorted(seen)) == (0, list(range(len(SUB_GENRES))))
