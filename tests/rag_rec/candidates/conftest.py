"""Small worlds for the tests of the candidate model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.events.history import HISTORY_DTYPE, History

MakeHistory = Callable[..., History]
DAY = 24 * 3600 * 1000


@pytest.fixture(scope="session")
def make_history() -> MakeHistory:
    """Builds a positive history; user 3's interactions are numbered from 3000 on, one day apart."""

    def make(user: int, items: Sequence[int], times: Sequence[int] | None = None) -> History:
        history = np.zeros(len(items), dtype=HISTORY_DTYPE)
        history["item"] = items
        history["interaction"] = 1000 * user + np.arange(len(items))
        history["time"] = DAY * (np.arange(len(items)) + 7 * user) if times is None else times
        history["value"] = 5.0
        return history

    return make


@pytest.fixture(scope="session")
def world(make_history: MakeHistory) -> list[tuple[int, History]]:
    """60 users over 40 items who mostly walk along a ring of items, from different starts."""
    generator = np.random.default_rng(7)
    histories = []
    for user in range(60):
        length = int(generator.integers(2, 15))
        steps = generator.choice([1, 1, 1, 2, 5], size=length).cumsum()
        items = list(dict.fromkeys(((steps + generator.integers(40)) % 40).tolist()))
        histories.append((user, make_history(user, items)))
    return histories


@pytest.fixture(scope="session")
def item_vectors() -> npt.NDArray[np.float32]:
    """Unit vectors of 40 items, dimension 8; neighbours on the ring are similar."""
    angle = 2 * np.pi * np.arange(40) / 40
    waves = [wave(k * angle) for k in (1, 2, 3, 4) for wave in (np.cos, np.sin)]
    vectors = np.stack(waves, axis=1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
