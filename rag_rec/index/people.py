"""The personal side of the state in memory: histories, interaction vectors and profiles, all by user number.

Each user's part is separate from everybody else's: putting or removing one touches nothing of another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Set

import numpy as np
import numpy.typing as npt

from rag_rec.events.history import History, empty_history, overwrite
from rag_rec.vectors.profile import profile_vector
from rag_rec.vectors.protocol import InteractionVectors, VectorIndex, Vectors

OwnVectors = Mapping[int, npt.NDArray[np.float32]]
"""Vectors of the interactions that have a text of their own, by interaction number."""


class People:
    """Histories, interaction vectors and profiles of all users that have interactions."""

    def __init__(self, interactions: InteractionVectors, profiles: VectorIndex) -> None:
        self.interactions = interactions
        self.profiles = profiles
        self._histories: dict[int, History] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._histories)

    def histories(self) -> Iterator[tuple[int, History]]:
        """All histories, by user number."""
        for number in sorted(self._histories):
            yield number, self._histories[number]

    def history(self, user: int) -> History:
        """A user's history; empty for a user who has none."""
        return self._histories.get(user, empty_history())

    def adopt(self, user: int, history: History) -> None:
        """Take over a history whose vectors are held already (read from an index generation)."""
        self._histories[user] = history

    def put(self, user: int, history: History, positive: npt.NDArray[np.bool_], own: OwnVectors) -> None:
        """Replace everything about a user. ``positive`` bool [n] marks the rows that make up the profile."""
        if not len(history):
            self.remove(user)
            return
        old = self.history(user)
        with self._lock:
            self.interactions.put(user, history["interaction"].copy(), history["item"].copy(), own)
            self._histories[user] = history
        if not np.isin(old["interaction"], history["interaction"]).all():
            overwrite(old)
        profile = profile_vector(self.interactions.vectors(user)[positive])
        if profile is None:
            self.profiles.remove(np.array([user]))
        else:
            self.profiles.put(np.array([user]), profile[None])

    def remove(self, user: int) -> None:
        """Remove everything about a user; the bytes are overwritten."""
        with self._lock:
            history = self._histories.pop(user, None)
            self.interactions.remove(user)
        if history is not None:
            overwrite(history)
        self.profiles.remove(np.array([user]))

    def has_history(self, user: int) -> bool:
        """Whether a user's history is held."""
        return user in self._histories

    def have_histories(self, users: Set[int]) -> bool:
        """Whether the histories of all these users are held."""
        return users <= self._histories.keys()

    def holds(self, user: int) -> bool:
        """Whether anything of a user is held: history, interaction vectors or profile."""
        return self.has_history(user) or len(self.interactions.interactions(user)) > 0 or self.profile(user) is not None

    def agrees(self, user: int, history: History) -> bool:
        """Whether a user's history is this one, and the interaction vectors are of its rows."""
        with self._lock:
            same = self.history(user).tobytes() == history.tobytes()
            return same and np.array_equal(self.interactions.interactions(user), history["interaction"])

    def sound(self) -> bool:
        """Whether histories, interaction vectors and profiles are of the same users and number of rows."""
        with self._lock:
            rows = sum(map(len, self._histories.values()))
            users = np.sort(np.fromiter(self._histories, dtype=np.int64))
            listed = np.array_equal(self.interactions.users(), users) and len(self.interactions) == rows
            return listed and bool(np.isin(self.profiles.numbers(), users).all())

    def own_vectors(self, user: int) -> dict[int, npt.NDArray[np.float32]]:
        """Vectors of the user's interactions that have a text of their own."""
        numbers, vectors = self.interactions.interactions(user), self.interactions.vectors(user)
        own = np.isin(numbers, self.interactions.own_numbers(user))
        return dict(zip(numbers[own].tolist(), vectors[own], strict=True))

    def profile(self, user: int | None) -> npt.NDArray[np.float32] | None:
        """A user's profile vector as the index stores it, float32 [d]; None where there is none."""
        if user is None:
            return None
        try:
            return np.asarray(self.profiles.vectors(np.array([user]))[0])
        except KeyError:
            return None

    def recall(self, user: int) -> tuple[History, Vectors]:
        """A user's history and, row by row, its vectors float32 [n, d], as of one moment."""
        with self._lock:
            return self.history(user), self.interactions.vectors(user)
