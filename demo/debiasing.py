"""The part of the demonstration in which the LLM's adapter is debiased beside the running service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from demo.claims import check
from demo.narration import Narration
from demo.service import Api, Commands
from demo.world import World
from rag_rec.errors import RagRecError

ASKED: Final = 100
LENGTH: Final = 10
FIFTH: Final = 0.2
PATIENCE_SECONDS: Final = 60.0
OPTIONS: Final = ("--metric", "popularity", "--budget-ndcg", "10%", "--rounds", "1")


@dataclass(frozen=True, slots=True)
class Debiasing:
    """Debiases the system of a world, and looks at what the service recommends before and after."""

    api: Api
    commands: Commands
    tell: Narration
    world: World

    def run(self) -> dict[str, Any]:
        """Debias towards less exposed films. Where the gate refuses, it says why, and nothing changes."""
        command = f"rag-rec debias {' '.join(OPTIONS)}"
        self.tell.step("Debias", f"{command}: without a training, through the gate, while the service runs.")
        users = list(dict.fromkeys(row.user_id for row in self.world.interactions))[:ASKED]
        before = self._lists(users)
        try:
            done = self.commands.run("debias", *OPTIONS)
        except RagRecError as refused:
            self.tell.line(f"{refused}")
            return {"refused": str(refused)}
        self._wait(users[0], done["adapter"])
        after = self._lists(users)
        changed = sum(old != new for old, new in zip(before, after, strict=True))
        shares = [self._planted(lists) for lists in (before, after)]
        self.tell.rows(_rows(done))
        masked = done["masked"]
        self.tell.line(
            f"{masked['choices']} of {masked['of']} choices were removed from the adapter. {changed} of {len(users)} "
            f"lists changed; the fifth of the films that was exposed most has {shares[1]:.1%} of the places, "
            f"{shares[0]:.1%} before. `rag-rec compact activate {done['adapter_before'][:12]}...` takes it back."
        )
        check(changed > 0, "the served lists change after the adapter was replaced")
        check(shares[1] < shares[0], "films are shown less for having been exposed")
        return {"adapter": done["adapter"], "changed": changed, "planted_share": shares, "served": done["served"]}

    def _lists(self, users: Sequence[str]) -> list[list[str]]:
        answers = [self.api.recommend(user, k=LENGTH) for user in users]
        return [[item["item_id"] for item in answer["items"]] for answer in answers]

    def _planted(self, lists: Sequence[Sequence[str]]) -> float:
        """The share of the places of the films that were exposed most, whatever they are worth."""
        films = sorted(self.world.films, key=lambda film: -film.exposure)
        most = {film.item.id for film in films[: int(FIFTH * len(films))]}
        shown = [item for each in lists for item in each]
        return sum(item in most for item in shown) / len(shown)

    def _wait(self, user: str, adapter: str) -> None:
        """Until the service answers with the new adapter."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while self.api.recommend(user)["provenance"]["adapter"] != adapter:
            check(time.monotonic() < limit, "the running service takes the new adapter up")


def _rows(done: dict[str, Any]) -> list[dict[str, Any]]:
    """How far from fair each order is, before and after."""
    return [
        {
            "order": order,
            "from fair before": done[key]["gaps"]["popularity"][0],
            "after": done[key]["gaps"]["popularity"][1],
            "ndcg@10 before": done[key]["ndcg"][0],
            "ndcg@10 after": done[key]["ndcg"][1],
        }
        for order, key in (("served", "served"), ("the LLM alone", "llm"))
    ]
