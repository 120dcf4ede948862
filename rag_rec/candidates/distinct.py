"""One item for each text: two items that read the same are the same to the reranker of the list."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rag_rec.candidates.query import CandidateList

SPARE: Final = 20
"""So many more candidates are asked for at first, so that few repeated texts cost no second look."""


def distinct(find: Callable[[int], CandidateList], n: int, texts: Sequence[str]) -> CandidateList:
    """The ``n`` best candidates of which no two have the same text; of those that do, the best stays.

    Texts are the same if they differ in nothing but case, spaces and the form of their characters (Unicode NFKC).
    Fewer than ``n`` come where there are no more texts.

    Args:
        find: gives so many candidates, best first, fewer where there are no more.
        n: how many are wanted.
        texts: of all items, by number.
    """
    asked = n + SPARE
    while True:
        found = find(asked)
        places = _first_places(texts[number] for number in found.items)
        if len(places) >= n or len(found) < asked:
            return found.take(places[:n])
        asked *= 2


def _first_places(texts: Iterable[str]) -> list[int]:
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(_normalised(text), place)
    return list(first.values())


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
