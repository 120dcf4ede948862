"""The simulated people: attributes, and interests that have nothing to do with the attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.parameters import WorldParameters
from demo.vocabulary import SUB_GENRES
from rag_rec.domain import AttributeValue, User

GENDERS = ("female", "male", "other")
GENDER_SHARES = (0.48, 0.48, 0.04)
REGIONS = ("coast", "capital", "highlands", "islands", "plains")
REGION_SHARES = (0.3, 0.35, 0.15, 0.08, 0.12)


@dataclass(frozen=True, slots=True)
class Person:
    """A user, and what only the simulation knows: the interests at the start and at the end of their time.

    ``early`` and ``late`` are float64 [sub-genres], each summing to one.
    """

    user: User
    early: npt.NDArray[np.float64]
    late: npt.NDArray[np.float64]

    def interests(self, progress: float) -> npt.NDArray[np.float64]:
        """Interests when a share ``progress`` of the person's interactions has passed, float64 [sub-genres]."""
        return (1.0 - progress) * self.early + progress * self.late


def make_people(parameters: WorldParameters, random: np.random.Generator) -> list[Person]:
    """All people of a world."""
    return [_person(number, parameters, random) for number in range(parameters.users)]


def _person(number: int, parameters: WorldParameters, random: np.random.Generator) -> Person:
    attributes: dict[str, AttributeValue] = {
        "age": int(np.clip(random.normal(38, 14), 16, 85)),
        "gender": str(random.choice(GENDERS, p=GENDER_SHARES)),
        "region": str(random.choice(REGIONS, p=REGION_SHARES)),
    }
    kinds = random.choice(len(SUB_GENRES), size=parameters.interests, replace=False)
    shares = random.dirichlet(np.full(parameters.interests, 1.5))
    exchanged = round(parameters.drift * parameters.interests)
    others = np.setdiff1d(np.arange(len(SUB_GENRES)), kinds)
    later = np.concatenate([random.choice(others, size=exchanged, replace=False), kinds[exchanged:]])
    return Person(User(f"viewer-{number:05d}", attributes), _spread(kinds, shares), _spread(later, shares))


def _spread(kinds: Sequence[int] | npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    interests = np.zeros(len(SUB_GENRES))
    interests[kinds] = shares
    return interests
