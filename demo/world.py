"""A simulated world: catalogue, people and log, the truth behind them, and the files that are ingested."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from demo.behaviour import Cause, Choice, Diary, Market, Walk
from demo.catalogue import Film, make_catalogue
from demo.parameters import WorldParameters
from demo.people import Person, make_people
from rag_rec.domain import Interaction, Item, User

ITEMS, USERS, INTERACTIONS, TRUTH = "items.jsonl", "users.csv", "interactions.csv", "truth.json"


@dataclass(frozen=True, slots=True)
class World:
    """Everything about a simulated world.

    ``choices`` runs parallel to ``interactions``: what only the simulation knows about each of them.
    """

    parameters: WorldParameters
    films: Sequence[Film]
    people: Sequence[Person]
    interactions: Sequence[Interaction]
    choices: Sequence[Choice]

    @property
    def items(self) -> list[Item]:
        """The catalogue as the product sees it."""
        return [film.item for film in self.films]

    @property
    def users(self) -> list[User]:
        """The people as the product sees them."""
        return [person.user for person in self.people]

    def truth(self) -> dict[str, Any]:
        """What debiasing may be measured against: parameters, exposure and appeal by item, the cause of each choice."""
        return {
            "simulated": True,
            "parameters": asdict(self.parameters),
            "items": {film.item.id: {"appeal": film.appeal, "exposure": film.exposure} for film in self.films},
            "causes": [
                {"user_id": row.user_id, "item_id": row.item_id, "time": row.time, "cause": choice.cause}
                for row, choice in zip(self.interactions, self.choices, strict=True)
            ],
        }

    def shares(self) -> Mapping[Cause, float]:
        """Share of the interactions by cause."""
        causes = [choice.cause for choice in self.choices]
        return {cause: causes.count(cause) / len(causes) for cause in Cause}


def make_world(parameters: WorldParameters) -> World:
    """The world that belongs to these parameters: the same parameters give the same world, to the byte."""
    seeds = np.random.SeedSequence(parameters.seed).spawn(3)
    films = make_catalogue(parameters.items, np.random.default_rng(seeds[0]))
    people = make_people(parameters, np.random.default_rng(seeds[1]))
    market = Market(films, parameters)
    log: list[tuple[Interaction, Choice]] = []
    for person, seed in zip(people, seeds[2].spawn(len(people)), strict=True):
        random = np.random.default_rng(seed)
        choices = list(Walk(person, market, parameters, random))
        rows = Diary(market, parameters, random).record(person.user.id, choices)
        log.extend(zip(rows, choices, strict=True))
    log.sort(key=lambda entry: (entry[0].time, entry[0].user_id))
    return World(parameters, films, people, [row for row, _ in log], [choice for _, choice in log])


def write_world(world: World, folder: Path) -> None:
    """Write the files that ``rag-rec ingest`` reads, and the truth that it does not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ITEMS).write_bytes(b"".join(orjson.dumps(_item_row(item)) + b"\n" for item in world.items))
    _write_csv(folder / USERS, [{"user_id": user.id, **user.attributes} for user in world.users])
    _write_csv(folder / INTERACTIONS, [_interaction_row(row) for row in world.interactions])
    (folder / TRUTH).write_bytes(orjson.dumps(world.truth(), option=orjson.OPT_INDENT_2))


def _item_row(item: Item) -> dict[str, Any]:
    return {"item_id": item.id, "text": item.text, "provider": item.provider, **item.attributes}


def _interaction_row(row: Interaction) -> dict[str, Any]:
    return {
        "user_id": row.user_id,
        "item_id": row.item_id,
        "time": row.time,
        "event": row.event,
        "value": "" if row.value is None else row.value,
        "text": row.text or "",
    }


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
