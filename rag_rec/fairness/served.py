"""What people were shown, and what they chose: all that a figure of fairness is taken from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.ranking import MISSED, gains
from rag_rec.fairness.groups import NONE, Groups, Numbers

Floats = npt.NDArray[np.float64]
NO_ITEM: Final = -1


@dataclass(frozen=True, slots=True)
class Served:
    """Lists that were shown.

    Attributes:
        lists: item numbers, int64 [people, k], best first, each once; :data:`NO_ITEM` where a list is shorter.
        chosen: the item that each person chose next, int64 [people].
        who: places of these people among all whose groups are known, int64 [people].
        items: how many items there are.
    """

    lists: Numbers
    chosen: Numbers
    who: Numbers
    items: int

    @classmethod
    def of(cls, lists: Numbers, chosen: Numbers, items: int) -> Served:
        """Of everybody whose groups are known.

        Raises:
            InvalidInput: there is no list, or as many answers as lists there are not.
        """
        if not len(lists):
            raise InvalidInput("There is no list to measure fairness on: ask at least one person.")
        if len(lists) != len(chosen):
            raise InvalidInput(f"There are {len(lists)} lists and {len(chosen)} choices: give one choice a list.")
        return cls(lists, chosen, np.arange(len(lists)), items)

    def taken(self, rows: Numbers) -> Served:
        """Those in some rows, of which one may occur several times."""
        return Served(self.lists[rows], self.chosen[rows], self.who[rows], self.items)

    @property
    def shown(self) -> Numbers:
        """Every item that was shown, once for each place, int64 [places]."""
        return np.asarray(self.lists[self.lists != NO_ITEM])

    @property
    def exposure(self) -> Numbers:
        """In how many lists each item is, int64 [items]."""
        return np.bincount(self.shown, minlength=self.items)

    @property
    def ranks(self) -> Numbers:
        """The place of what was chosen, int64 [people]; 0 is best, and absent is beyond every place."""
        found = self.lists == self.chosen[:, None]
        return np.where(found.any(axis=1), found.argmax(axis=1), MISSED)

    @property
    def gains(self) -> Floats:
        """NDCG at the length of the lists, float64 [people]."""
        return gains(self.ranks, self.lists.shape[1])

    @property
    def hits(self) -> Floats:
        """1 where what was chosen is in the list and 0 elsewhere, float64 [people]."""
        return np.asarray(self.ranks != MISSED, dtype=np.float64)


def shares(numbers: Numbers, groups: Groups) -> Floats:
    """The share of each group of items among some items, of those that are in one; float64 [groups], 0 without any."""
    of = groups.of[numbers]
    counts = np.bincount(of[of != NONE], minlength=len(groups)).astype(np.float64)
    return np.asarray(counts / max(1.0, counts.sum()))
