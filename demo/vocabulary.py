"""The words that the simulated films are made of, read from ``vocabulary.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class SubGenre:
    """A kind of film, with the phrases that its descriptions and titles are made of."""

    name: str
    genre: str
    places: tuple[str, ...]
    heroes: tuple[str, ...]
    plots: tuple[str, ...]
    words: tuple[str, ...]


def _sub_genre(fields: dict[str, Any]) -> SubGenre:
    phrases = {name: tuple(fields[name]) for name in ("places", "heroes", "plots", "words")}
    return SubGenre(fields["name"], fields["genre"], **phrases)


_WORDS: dict[str, Any] = tomllib.loads((files(__package__) / "vocabulary.toml").read_text(encoding="utf-8"))

SUB_GENRES: tuple[SubGenre, ...] = tuple(_sub_genre(fields) for fields in _WORDS["sub_genres"])
GENRES: tuple[str, ...] = tuple(dict.fromkeys(kind.genre for kind in SUB_GENRES))
ADJECTIVES: tuple[str, ...] = tuple(_WORDS["adjectives"])
ABSTRACTS: tuple[str, ...] = tuple(_WORDS["abstracts"])
FIRST_NAMES: tuple[str, ...] = tuple(_WORDS["first_names"])
LAST_NAMES: tuple[str, ...] = tuple(_WORDS["last_names"])
STUDIOS: tuple[str, ...] = tuple(_WORDS["studios"])
TONES: tuple[str, ...] = tuple(_WORDS["tones"])
PRAISE: tuple[str, ...] = tuple(_WORDS["praise"])
COMPLAINTS: tuple[str, ...] = tuple(_WORDS["complaints"])
