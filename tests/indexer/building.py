"""What a build is made from, and an embedder that notes what a build asks of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rag_rec.domain import Interaction
from tests.embedders import HashEmbedder
from tests.homes import ITEMS

DAY = 86_400_000
LOG = [
    Interaction(
        f"user-{u}", ITEMS[(u + n) % 12].id, (100 + n) * DAY, "like", text=f"a text of user {u}" if n == 1 else None
    )
    for u in range(4)
    for n in range(4)
]


class CountingEmbedder(HashEmbedder):
    """Notes what it is asked to embed, and breaks off after a number of texts."""

    def __init__(self, limit: int = 10**9) -> None:
        self.embedded: list[str] = []
        self._limit = limit

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if len(self.embedded) + len(texts) > self._limit:
            raise KeyboardInterrupt
        self.embedded.extend(texts)
        return super().embed(texts)
