"""The seams of the vector layer: embedding models, flat indices by number, and the index of interactions by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def digest(self) -> str:
        """Identifies model and weights: equal digests give equal vectors."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, float32 [n, dimension]."""

    def count_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Number of tokens of each text, without special tokens, int32 [n]."""


class VectorIndex(Protocol):
    """Vectors by number, searched by inner product. Used for items and for profiles."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def __len__(self) -> int: ...

    def numbers(self) -> Numbers:
        """Numbers held, ascending, int64 [n]."""

    def put(self, numbers: Numbers, vectors: Vectors) -> None:
        """Insert vectors [n, d], or replace those whose number is held."""

    def remove(self, numbers: Numbers) -> int:
        """Remove vectors physically (bytes overwritten), ignoring numbers not held. Returns how many went."""

    def vectors(self, numbers: Numbers) -> Vectors:
        """The vectors as stored (after quantisation), float32 [n, d]. Raises KeyError for a number that is not held."""

    def search(self, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        """The k best by inner product for each query [q, d]: numbers [q, k] and scores [q, k].

        Best first, ties by ascending number whatever the order of insertion; number -1 and score -inf where
        there are fewer than k.
        """

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an index back. Raises ``CorruptIndex`` for files that are truncated, foreign or inconsistent."""


class InteractionVectors(Protocol):
    """Every user's interactions as vectors, isolated by user: an operation on one user touches only that user's list.

    An interaction with a text of its own has a vector of its own; every other one refers to its item's vector, which
    is not personal and lives in the item index.
    """

    def __len__(self) -> int:
        """Number of interactions held."""

    def users(self) -> Numbers:
        """Users held, ascending."""

    def put(
        self, user: int, interactions: Numbers, items: npt.NDArray[np.int32], own: Mapping[int, npt.NDArray[np.float32]]
    ) -> None:
        """Replace a user's list. ``own`` maps interaction number to its own vector [d]."""

    def remove(self, user: int) -> int:
        """Remove a user's list physically. Returns how many interactions went."""

    def interactions(self, user: int) -> Numbers:
        """The interactions of a user in the order in which they were put; empty for a user who is not held."""

    def own_numbers(self, user: int) -> Numbers:
        """The user's interactions that have a vector of their own, ascending."""

    def vectors(self, user: int) -> Vectors:
        """The vectors of the user's interactions in the same order, float32 [n, d]."""

    def search(self, user: int, queries: Vectors, k: int) -> tuple[Numbers, Scores]:
        """The k best interactions of this user for each query, as in :meth:`VectorIndex.search`."""
