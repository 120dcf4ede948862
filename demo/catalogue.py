"""The simulated catalogue: films with titles, descriptions, series, years and studios."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demo.vocabulary import (
    ABSTRACTS,
    ADJECTIVES,
    FIRST_NAMES,
    LAST_NAMES,
    STUDIOS,
    SUB_GENRES,
    TONES,
    SubGenre,
)
from rag_rec.domain import AttributeValue, Item

SERIES_SHARE = 0.5
SERIES_PARTS = (3, 6)
FIRST_YEAR, LAST_YEAR = 1968, 2025
NUMERALS = ("", " II", " III", " IV", " V", " VI")


@dataclass(frozen=True, slots=True)
class Film:
    """A film: the item as the product sees it, and what only the simulation knows.

    ``kind`` is the position of its sub-genre, ``series`` the number of its series (-1 for a single film) and ``part``
    its place in it. ``appeal`` is how good it is; ``exposure`` is how much it is shown, drawn independently of appeal.
    """

    item: Item
    kind: int
    series: int
    part: int
    appeal: float
    exposure: float


def make_catalogue(size: int, random: np.random.Generator) -> list[Film]:
    """``size`` films over all sub-genres, about half of them in series of three to six parts."""
    builder = _Builder(size, random)
    while len(builder.films) < size:
        kind = len(builder.films) % len(SUB_GENRES) if random.random() < 0.5 else int(random.integers(len(SUB_GENRES)))
        builder.add(kind, parts=_parts(random))
    return builder.films[:size]


def _parts(random: np.random.Generator) -> int:
    mean_parts = sum(SERIES_PARTS) / 2
    in_series = random.random() < SERIES_SHARE / (SERIES_SHARE + (1 - SERIES_SHARE) * mean_parts)
    return int(random.integers(SERIES_PARTS[0], SERIES_PARTS[1] + 1)) if in_series else 1


class _Builder:
    """Collects films, with titles that are all different."""

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.films: list[Film] = []
        self._random = random
        self._titles: set[str] = set()
        self._series = 0
        self._exposure = _exposure(size + SERIES_PARTS[1], random)

    def add(self, kind: int, parts: int) -> None:
        """Add a film of a sub-genre, or a series of ``parts`` films with the same hero in the same place."""
        theme = SUB_GENRES[kind]
        title, scene = self._title(theme), f"{self._hero(theme)} {self._pick(theme.places)}"
        year = int(self._random.integers(FIRST_YEAR, LAST_YEAR - 2 * parts))
        studio = STUDIOS[int(self._random.zipf(1.6)) % len(STUDIOS)]
        series = self._series if parts > 1 else -1
        for part in range(parts):
            named = title + NUMERALS[part] + (f": {self._pick(ABSTRACTS)}" if part else "")
            item = Item(self._id(), self._text(named, year, theme, scene), _attributes(named, theme, year), studio)
            exposure = float(self._exposure[len(self.films)])
            self.films.append(Film(item, kind, series, part, float(self._random.normal()), exposure))
            year += int(self._random.integers(1, 3))
        self._series += parts > 1

    def _id(self) -> str:
        return f"film-{len(self.films):05d}"

    def _text(self, title: str, year: int, theme: SubGenre, scene: str) -> str:
        plot = f"{title} ({year}). {theme.genre}, {theme.name}. {scene} {self._pick(theme.plots)}."
        return f"{plot} {self._pick(TONES)} by {self._name()}."

    def _title(self, theme: SubGenre) -> str:
        for attempt in range(1000):
            word = self._pick(theme.words)
            forms = (
                f"The {self._pick(ADJECTIVES)} {word}",
                f"{word} of {self._pick(ABSTRACTS)}",
                f"{self._pick(ADJECTIVES)} {word}, {self._pick(ADJECTIVES)} {self._pick(theme.words)}",
                f"{self._pick(LAST_NAMES)}'s {word}",
                f"{self._pick(FIRST_NAMES)} and the {word}",
            )
            title = self._pick(forms) + (f" {attempt // 50 + 1}" if attempt >= 50 else "")
            if title not in self._titles:
                self._titles.add(title)
                return title
        raise AssertionError(f"no title is left for {theme.name}")

    def _hero(self, theme: SubGenre) -> str:
        hero = self._pick(theme.heroes)
        return f"{self._name()}, {hero}," if self._random.random() < 0.7 else hero[0].upper() + hero[1:]

    def _name(self) -> str:
        return f"{self._pick(FIRST_NAMES)} {self._pick(LAST_NAMES)}"

    def _pick(self, choices: tuple[str, ...]) -> str:
        return choices[int(self._random.integers(len(choices)))]


def _attributes(title: str, theme: SubGenre, year: int) -> dict[str, AttributeValue]:
    return {"title": title, "genres": (theme.genre, theme.name), "year": year}


def _exposure(size: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """How much each film is shown: 1/rank in an order that has nothing to do with appeal."""
    ranks = random.permutation(size) + 1
    return np.asarray(1.0 / ranks**0.8, dtype=np.float64)
