"""Keeps one large array for the next use instead of giving its memory back.

A P of 120 MB that is replaced for every removal would be given back to the system and fetched again each time. On a
virtual machine whose host takes unused memory back, fetching it takes ten times as long as the arithmetic (measured:
370 ms against 40 ms).
"""

from __future__ import annotations

import sys
import threading

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_OWN_REFERENCES = 2
"""The name in :meth:`SpareArray.take` and the argument of the count."""


class SpareArray:
    """At most one array. Thread-safe."""

    def __init__(self) -> None:
        self._array: Floats | None = None
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> Floats:
        """An array to write into: the one that is kept, with what was in it, if it fits and nobody reads it or a part
        of it any more; else a new one of zeros."""
        with self._lock:
            array, self._array = self._array, None
        if array is not None and array.shape == shape and sys.getrefcount(array) == _OWN_REFERENCES:
            return array
        return np.zeros(shape)

    def keep(self, array: Floats) -> None:
        """Keep an array, or the one that it is a part of. Whoever reads it may go on."""
        whole = array if array.base is None else array.base
        with self._lock:
            self._array = whole
