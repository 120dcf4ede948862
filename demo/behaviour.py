"""How the simulated people choose and rate films, one person at a time.

A choice has one of three causes. *Interest*: the next part of the series just seen, or a film of a sub-genre that the
person likes; within a sub-genre, films that are shown more are picked more. *Popularity*: one of the most exposed films
of all. *Group*: a film of the genre that people of the same gender are steered to. The last two are the planted biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from demo.catalogue import Film
from demo.parameters import DAY_MS, WorldParameters
from demo.people import Person
from demo.vocabulary import COMPLAINTS, PRAISE, SUB_GENRES
from rag_rec.domain import Interaction

MINIMUM_CHOICES = 5
SESSION_GAP_MS = 7_200_000
IN_SESSION = 0.4  # share of films seen right after another one


class Cause(StrEnum):
    """Why a film was chosen."""

    INTEREST = "interest"
    POPULARITY = "popularity"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Choice:
    """One film chosen by a person: its number, why, and whether it continued a series."""

    film: int
    cause: Cause
    continued: bool


class Market:
    """The catalogue as people meet it: which films there are of a kind, and how likely each is to be picked."""

    def __init__(self, films: Sequence[Film], parameters: WorldParameters) -> None:
        self.films = films
        self.kinds = np.array([film.kind for film in films])
        self.appeal = np.array([film.appeal for film in films])
        self.pull = np.exp(0.7 * self.appeal) * self._exposure(films) ** parameters.popularity_bias
        self.of_kind = [np.flatnonzero(self.kinds == kind) for kind in range(len(SUB_GENRES))]
        self.of_genre = {
            genre: np.flatnonzero([SUB_GENRES[film.kind].genre == genre for film in films])
            for genre in {kind.genre for kind in SUB_GENRES}
        }
        self.most_exposed = np.argsort(-self._exposure(films), kind="stable")[: max(20, len(films) // 30)]
        self.leads_to = _ways(parameters.seed)
        self._next_part = {(film.series, film.part): number for number, film in enumerate(films) if film.series >= 0}

    def sequel(self, film: int) -> int | None:
        """The next part of the film's series."""
        seen = self.films[film]
        return self._next_part.get((seen.series, seen.part + 1)) if seen.series >= 0 else None

    def pick(
        self, among: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_], random: np.random.Generator
    ) -> int | None:
        """One unseen film, drawn by its pull; None when all have been seen."""
        left = among[~seen[among]]
        if not len(left):
            return None
        cumulative = np.cumsum(self.pull[left])
        return int(left[np.searchsorted(cumulative, random.random() * cumulative[-1], side="right")])

    @staticmethod
    def _exposure(films: Sequence[Film]) -> npt.NDArray[np.float64]:
        return np.array([film.exposure for film in films])


def _ways(seed: int) -> npt.NDArray[np.int64]:
    """The sub-genre that each one leads to, int64 [sub-genres]: all of them lie on one round."""
    order = np.random.default_rng([seed, len(SUB_GENRES)]).permutation(len(SUB_GENRES))
    ways = np.empty_like(order)
    ways[order] = np.roll(order, -1)
    return ways


class Walk:
    """One person's way through the catalogue. Iterating gives the films chosen, in order, each at most once."""

    def __init__(
        self, person: Person, market: Market, parameters: WorldParameters, random: np.random.Generator
    ) -> None:
        self._person = person
        self._market = market
        self._parameters = parameters
        self._random = random
        self._seen = np.zeros(len(market.films), dtype=np.bool_)
        self._last: int | None = None
        self._steered_to = parameters.steering.get(str(person.user.attributes["gender"]))

    def __iter__(self) -> Iterator[Choice]:
        length = self._length()
        for step in range(length):
            choice = self._choice(step / length)
            if choice is not None:
                self._seen[choice.film] = True
                self._last = choice.film if choice.cause is Cause.INTEREST else self._last
                yield choice

    def _length(self) -> int:
        spread = max(self._parameters.mean_interactions - MINIMUM_CHOICES, 1)
        wanted = MINIMUM_CHOICES + int(self._random.gamma(1.2, spread / 1.2))
        return min(wanted, len(self._market.films) // 4)

    def _choice(self, progress: float) -> Choice | None:
        """The next choice; None when every film that it could fall on has been seen."""
        draw = self._random.random() - self._parameters.popularity_share
        if draw < 0:
            return self._among(self._market.most_exposed, Cause.POPULARITY)
        if self._steered_to is not None and draw < self._parameters.group_bias:
            return self._among(self._market.of_genre[self._steered_to], Cause.GROUP)
        sequel = self._sequel()
        if sequel is not None and self._random.random() < self._parameters.continue_series:
            return Choice(sequel, Cause.INTEREST, continued=True)
        return self._among(self._market.of_kind[self._kind(progress)], Cause.INTEREST)

    def _sequel(self) -> int | None:
        sequel = self._market.sequel(self._last) if self._last is not None else None
        return None if sequel is None or self._seen[sequel] else sequel

    def _kind(self, progress: float) -> int:
        if self._last is not None:
            draw, last = self._random.random(), int(self._market.kinds[self._last])
            if draw < self._parameters.onward:
                return int(self._market.leads_to[last])
            if draw < self._parameters.onward + self._parameters.stay:
                return last
        return int(self._random.choice(len(SUB_GENRES), p=self._person.interests(progress)))

    def _among(self, films: npt.NDArray[np.int64], cause: Cause) -> Choice | None:
        film = self._market.pick(films, self._seen, self._random)
        return None if film is None else Choice(film, cause, continued=False)


class Diary:
    """Turns choices into what the log keeps of them: ratings, watchlist entries and reviews, with times."""

    def __init__(self, market: Market, parameters: WorldParameters, random: np.random.Generator) -> None:
        self._market = market
        self._parameters = parameters
        self._random = random

    def record(self, user_id: str, choices: Sequence[Choice]) -> list[Interaction]:
        """One interaction for each choice, in order of time."""
        times = self._times(len(choices))
        return [self._interaction(user_id, choice, int(time)) for choice, time in zip(choices, times, strict=True)]

    def _interaction(self, user_id: str, choice: Choice, time: int) -> Interaction:
        item_id = self._market.films[choice.film].item.id
        if self._random.random() < self._parameters.watchlist_share:
            return Interaction(user_id, item_id, time, event="watchlist")
        stars = self._stars(choice)
        text = self._review(stars, choice) if self._random.random() < self._parameters.review_share else None
        return Interaction(user_id, item_id, time, value=stars, text=text)

    def _stars(self, choice: Choice) -> float:
        pushed = choice.cause is not Cause.INTEREST
        opinion = 4.0 + 0.5 * self._market.appeal[choice.film] - self._parameters.pushed_penalty * pushed
        return float(np.clip(np.rint(opinion + self._random.normal(0, 0.7)), 1, 5))

    def _review(self, stars: float, choice: Choice) -> str:
        opinions = PRAISE if stars >= 4 else COMPLAINTS
        opinion = opinions[int(self._random.integers(len(opinions)))]
        return f"{SUB_GENRES[self._market.kinds[choice.film]].name.capitalize()}: {opinion}."

    def _times(self, count: int) -> npt.NDArray[np.int64]:
        """Ascending times: sessions of a few films, two hours apart, between joining and the end of the world."""
        span = self._parameters.days * DAY_MS
        joined = int(self._random.random() * 0.7 * span)
        starts = np.sort(self._random.integers(joined, span - DAY_MS, size=count))
        starts[1:][self._random.random(max(count - 1, 0)) < IN_SESSION] = 0
        times = np.empty(count, dtype=np.int64)
        now = 0
        for place, start in enumerate(starts):
            now = max(int(start), now + SESSION_GAP_MS)
            times[place] = now
        return np.minimum(times, span - count + np.arange(count)) + self._parameters.end_ms - span
