from __future__ import annotations

import pytest

from rag_rec.evaluation.held_out import is_held_out, place_of

IDS = [f"user-{number}" for number in range(4000)]


def held(share: float, seed: int = 0, purpose: str = "") -> set[str]:
    return {user for user in IDS if is_held_out(user, share, seed, purpose)}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_sample_has_about_the_share(share: float) -> None:
    assert len(held(share)) / len(IDS) == pytest.approx(share, abs=0.03)


def test_a_smaller_share_is_a_part_of_a_larger_one() -> None:
    assert held(0.1) < held(0.3)


def test_samples_for_different_purposes_have_nothing_to_do_with_each_other() -> None:
    both = held(0.5) & held(0.5, purpose="reader")
    assert len(both) / len(IDS) == pytest.approx(0.25, abs=0.03)
    assert held(0.5, seed=1) != held(0.5)


def test_everybody_has_a_place_and_places_are_about_as_full() -> None:
    places = [place_of(user, 5, 0, "a purpose") for user in IDS]
    assert places == [place_of(user, 5, 0, "a purpose") for user in IDS]
    assert {place: places.count(place) / len(IDS) for place in range(5)} == pytest.approx(
        dict.fromkeys(range(5), 0.2), abs=0.03
    )
    for other in ([place_of(user, 5, 1, "a purpose") for user in IDS], [place_of(user, 5, 0, "b") for user in IDS]):
        alike = sum(mine == theirs for mine, theirs in zip(places, other, strict=True))
        assert alike / len(IDS) == pytest.approx(0.2, abs=0.03)
