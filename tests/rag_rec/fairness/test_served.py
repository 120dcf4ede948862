from __future__ import annotations

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.ranking import MISSED
from rag_rec.fairness.groups import Groups
from rag_rec.fairness.served import Served, shares

LISTS = np.array([[0, 1, 2], [2, 3, -1], [4, -1, -1]])


def test_what_was_shown_and_what_was_reached() -> None:
    served = Served.of(LISTS, np.array([1, 0, 4]), 6)
    assert served.shown.tolist() == [0, 1, 2, 2, 3, 4]
    assert served.exposure.tolist() == [1, 1, 2, 1, 1, 0]
    assert served.ranks.tolist() == [1, MISSED, 0]
    assert served.hits.tolist() == [1.0, 0.0, 1.0]
    assert served.gains.tolist() == pytest.approx([1.0 / np.log2(3.0), 0.0, 1.0])


def test_people_can_be_drawn_several_times() -> None:
    drawn = Served.of(LISTS, np.array([1, 0, 4]), 6).taken(np.array([2, 2, 0]))
    assert drawn.who.tolist() == [2, 2, 0]
    assert drawn.chosen.tolist() == [4, 4, 1]
    assert drawn.exposure.tolist() == [1, 1, 1, 0, 2, 0]


def test_no_list_and_a_list_without_a_choice_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no list"):
        Served.of(LISTS[:0], np.array([], dtype=np.int64), 6)
    with pytest.raises(InvalidInput, match="3 lists and 2 choices"):
        Served.of(LISTS, np.array([1, 0]), 6)


def test_shares_are_of_what_is_in_a_group() -> None:
    groups = Groups.by(["a", "b", None, "b"])
    assert shares(np.array([0, 1, 2, 3, 3]), groups).tolist() == [0.25, 0.75]
    assert shares(np.array([2]), groups).tolist() == [0.0, 0.0]
