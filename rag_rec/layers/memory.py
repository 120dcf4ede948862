"""What a removal needs of the state in memory, in this process or in another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Memory(Protocol):
    """The state that answers. :class:`rag_rec.index.serving_state.ServingState` is one."""

    @property
    def epoch(self) -> int:
        """The store's epoch that it has reached."""

    def reach(self, user: int, interactions: Sequence[int]) -> Mapping[str, int]:
        """What would go, or be made anew, with these interactions of a user: counts by what a plan calls them."""

    def prepare(self, user: int, gone: Sequence[int] | None = None) -> None:
        """Compute ahead what a coming removal does, of all there is or of the interactions that are ``gone`` then."""

    def discard(self) -> None:
        """Free what was prepared for a removal that did not come."""

    def follow(self) -> None:
        """Bring everything up to the store's epoch."""

    def sound(self) -> bool:
        """Whether all parts add up to the same people and interactions."""

    def agrees(self, user: int) -> bool:
        """Whether it has of a user exactly what the store has at present."""

    def holds(self, user: int) -> bool:
        """Whether it has anything of a user."""
