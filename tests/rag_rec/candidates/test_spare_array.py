from __future__ import annotations

import numpy as np

from rag_rec.candidates.spare_array import SpareArray


def address(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
    return int(array.__array_interface__["data"][0])


def test_an_array_that_nobody_reads_is_used_again() -> None:
    spare = SpareArray()
    first = spare.take((3, 3))
    assert not first.any()
    place = address(first)
    spare.keep(first[:2, :2])
    del first
    again = spare.take((3, 3))
    assert address(again) == place
    assert address(spare.take((3, 3))) != place


def test_an_array_that_somebody_reads_is_left_alone() -> None:
    spare = SpareArray()
    first = spare.take((3, 3))
    first[:] = 7.0
    part = first[1:]
    spare.keep(first)
    place = address(first)
    del first
    second = spare.take((3, 3))
    assert address(second) != place
    second[:] = 1.0
    assert (part == 7.0).all()


def test_an_array_of_another_shape_does_not_fit() -> None:
    spare = SpareArray()
    spare.keep(np.ones((2, 2)))
    assert not spare.take((3, 3)).any()
