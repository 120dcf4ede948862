"""What a build is going to make, and the folder in which an interrupted one is taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.private import make_private_folder
from rag_rec.events.rule import rules_document
from rag_rec.index.generation import BUILDING, Generations
from rag_rec.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """A build of the store at one epoch with given settings. ``fresh`` forbids taking over earlier vectors."""

    epoch: int
    embedding: str
    settings: Mapping[str, Any]
    fresh: bool

    @property
    def key(self) -> str:
        """Identifies the build: the same plan resumes the same folder."""
        content = orjson.dumps(
            [self.epoch, self.embedding, dict(self.settings), self.fresh], option=orjson.OPT_SORT_KEYS
        )
        return hashlib.sha256(content).hexdigest()[:16]


def make_plan(epoch: int, embedding: str, settings: Settings, *, fresh: bool) -> Plan:
    """The plan for building the store at this epoch."""
    relevant = {
        "events": rules_document(settings.event_rules),
        "interest_clusters": settings.interest_clusters,
        "dense_items_limit": settings.dense_items_limit,
        "seed": settings.seed,
    }
    return Plan(epoch, embedding, relevant, fresh)


def building_folder(generations: Generations, plan: Plan) -> Path:
    """The folder of this plan's build. Folders of other, abandoned builds are destroyed."""
    folder = generations.root / f"{BUILDING}{plan.epoch}-{plan.key}"
    with generations.writing():
        for other in generations.building():
            if other != folder:
                destroy(other)
        make_private_folder(folder)
    return folder
