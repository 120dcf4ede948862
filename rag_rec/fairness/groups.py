"""Groups of items and of people, by which it is asked whether they are treated alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput

Numbers = npt.NDArray[np.int64]
Counts = npt.NDArray[np.integer]
NONE: Final = -1
"""The group of what belongs to none: it counts nowhere."""
HEAD: Final = 0.2
"""Share of the items that are called the head: those that most people like."""
BANDS: Final = 5
"""Groups of items by popularity, as in Jiang et al., "Item-side Fairness of Large Language Model-based Recommendation
System", arXiv 2402.15215."""
ACTIVITIES: Final = 4
"""Groups of people by how much is known of them."""


@dataclass(frozen=True, slots=True)
class Groups:
    """A partition of items, or of people.

    Attributes:
        names: of the groups; their place is their number.
        of: the group of each item or person, int64 [n]; :data:`NONE` where there is none.
    """

    names: tuple[str, ...]
    of: Numbers

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self.names)

    @classmethod
    def by(cls, values: Sequence[str | None]) -> Groups:
        """One group for each value of an attribute, by its name; None belongs to no group."""
        names = sorted({value for value in values if value is not None})
        number = {name: place for place, name in enumerate(names)}
        return cls(tuple(names), np.array([NONE if v is None else number[v] for v in values], dtype=np.int64))

    def crossed(self, other: Groups) -> Groups:
        """The groups that are in one of these and in one of the others: ``young and female``. Empty ones go.

        Raises:
            InvalidInput: they are groups of other things.
        """
        if len(self.of) != len(other.of):
            raise InvalidInput(f"Groups of {len(self.of)} cannot be crossed with groups of {len(other.of)}.")
        pairs = zip(self.of.tolist(), other.of.tolist(), strict=True)
        return Groups.by([None if NONE in (a, b) else f"{self.names[a]} and {other.names[b]}" for a, b in pairs])

    def require(self, least: int, what: str) -> None:
        """Refuse groups that cannot be compared: fewer than two, or one with fewer than so many.

        Args:
            least: in each group.
            what: the name of the attribute, for the error.

        Raises:
            InvalidInput: nothing can be compared.
        """
        if len(self) < 2:
            had = f"all have {self.names[0]!r}" if self.names else "nothing has a value"
            raise InvalidInput(f"{what!r} makes no two groups, {had}: choose an attribute with two values or more.")
        counts = np.bincount(self.of[self.of != NONE], minlength=len(self))
        few = [
            f"{name!r} has {count}" for name, count in zip(self.names, counts.tolist(), strict=True) if count < least
        ]
        if few:
            raise InvalidInput(f"{what!r} has groups of fewer than {least}: {', '.join(few)}. Put values together.")


def head(popularity: Counts, share: float = HEAD) -> Groups:
    """The items that most people like, and all others.

    Args:
        popularity: how many people liked each item, integers [items]. Of equal ones the first comes first.
        share: of the items that are the head; at least one is.
    """
    order = np.argsort(-popularity, kind="stable")
    of = np.ones(len(popularity), dtype=np.int64)
    of[order[: max(1, int(share * len(order)))]] = 0
    return Groups(("head", "tail"), of)


def bands(popularity: Counts, groups: int = BANDS) -> Groups:
    """Groups of about equally many items by popularity, the most popular first; arguments as of :func:`head`."""
    order = np.argsort(-popularity, kind="stable")
    of = np.zeros(len(popularity), dtype=np.int64)
    of[order] = np.arange(len(order)) * groups // max(1, len(order))
    return Groups(tuple(f"band {number + 1} of {groups}" for number in range(groups)), of)


def activity(lengths: Counts) -> Groups:
    """Four groups of equally many people by the length of their history, the shortest first."""
    names = tuple(f"quarter {number + 1}" for number in range(ACTIVITIES))
    of = np.argsort(np.argsort(lengths, kind="stable"), kind="stable") * ACTIVITIES // max(1, len(lengths))
    return Groups(names, of)
