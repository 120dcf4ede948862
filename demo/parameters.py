"""What the simulated world is like. The defaults are the demonstration's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_MS = 86_400_000
END_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class WorldParameters:
    """Size, behaviour and planted biases of a simulated world.

    Interests are drawn in the same way for every group. Whatever groups differ in is therefore planted, through
    ``steering`` and ``group_bias``, and nothing else.
    """

    seed: int = 0
    users: int = 1000
    items: int = 1200
    mean_interactions: float = 30.0
    days: int = 730
    end_ms: int = END_MS

    interests: int = 4
    """Sub-genres that a person likes at any one time."""
    continue_series: float = 0.3
    """Chance that somebody who has just seen a part of a series takes its next part."""
    onward: float = 0.5
    """Chance of moving on from the sub-genre of the last film to the one that it leads to, the same for everybody.
    Counts of pairs of films are too thin to show it; a model that reads sub-genres out of texts can learn it."""
    stay: float = 0.25
    """Chance of staying in the sub-genre of the last film; otherwise the next one is drawn from the interests."""
    drift: float = 0.5
    """Share of a person's interests that is exchanged, one after the other, over their time in the world."""

    popularity_bias: float = 1.0
    """Exponent of exposure when a film is picked within a sub-genre. 0: films are picked for their appeal alone."""
    popularity_share: float = 0.12
    """Share of choices made from the most exposed films of all, whatever the person's interests."""
    group_bias: float = 0.15
    """Share of choices that a steered group makes from the genre it is steered to, whatever the person's interests."""
    steering: Mapping[str, str] = field(default_factory=lambda: {"female": "Romance", "male": "Action"})
    """Gender to the genre that it is steered to."""
    pushed_penalty: float = 0.9
    """Stars by which a film that was pushed by exposure or steering is rated lower than one chosen out of interest."""

    watchlist_share: float = 0.15
    """Share of interactions that are a watchlist entry, without a rating."""
    review_share: float = 0.03
    """Share of ratings that come with a written review."""
