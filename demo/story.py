"""The demonstration, step by step: one world through every part of the product, over its real interfaces.

Each step prints what happened and checks what it claims; a claim that does not hold ends the demonstration with an
error. Read :meth:`Story.run` from top to bottom.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from demo.behaviour import Cause
from demo.claims import check
from demo.debiasing import Debiasing
from demo.forgetting import Forgetting
from demo.narration import Narration
from demo.parameters import WorldParameters
from demo.rebuild import rebuild_under_load
from demo.service import Api, Commands, RunningService
from demo.world import INTERACTIONS, ITEMS, USERS, World, make_world, write_world
from rag_rec.domain import Source, Strategy
from rag_rec.errors import InvalidInput

MARKER = "demo.json"
MINUTE_MS = 60_000
LONG_LIST = 50
EPOCHS = 8
"""Chosen in worlds of other seeds than the demonstration's own (docs/simulated-world.md): with more of them the LLM
learns a small world by heart."""


class Story:
    """One run of the demonstration in one folder."""

    def __init__(self, folder: Path, parameters: WorldParameters, console: Console) -> None:
        self._parameters = parameters
        self._folder = folder
        self._home = folder / "home"
        self._log = folder / "service.log"
        self._tell = Narration(console)
        self._application_key, self._privacy_key = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        roles = {self._application_key: ["recommend", "ingest"], self._privacy_key: ["privacy"]}
        settings = {"RAGREC_API_KEYS": orjson.dumps(roles).decode(), "RAGREC_THREADS": str(min(os.cpu_count() or 1, 4))}
        self._commands = Commands(self._home, settings)
        self._result: dict[str, Any] = {}

    def run(self) -> Mapping[str, Any]:
        """The whole demonstration. Returns what it measured.

        Raises:
            RagRecError: a command failed, or something did not hold that should.
        """
        started = time.perf_counter()
        prepare(self._folder, self._parameters)
        world = self._world()
        self._ingest()
        self._build()
        self._compact()
        with RunningService(self._commands, self._log) as service, self._apis(service) as (application, privacy):
            hero = protagonist(world)
            self._recommend(application, hero, world)
            self._result["debias"] = Debiasing(application, self._commands, self._tell, world).run()
            self._learn(application, hero, world)
            self._forget(application, privacy, hero)
            self._rebuild(application, world)
        check(service.exit_code == 0, "the service stops in order")
        self._result["seconds"] = round(time.perf_counter() - started, 1)
        self._tell.end(self._result["seconds"], self._folder)
        return {"ok": True, **self._result}

    def _world(self) -> World:
        """Simulate the catalogue, the people and what they did, and write it to files."""
        self._tell.step("A simulated world", "Catalogue, people and behaviour are invented; the biases are planted.")
        world = make_world(self._parameters)
        write_world(world, self._folder / "world")
        shares = {str(cause): round(share, 3) for cause, share in world.shares().items()}
        self._result["world"] = {
            "items": len(world.items),
            "users": len(world.users),
            "interactions": len(world.interactions),
            "causes": shares,
        }
        self._tell.facts(self._result["world"])
        self._tell.line(f"For example: {world.items[0].text}")
        self._tell.line(
            f"Planted: {shares[Cause.POPULARITY]:.0%} of the choices follow exposure instead of interest, "
            f"{shares[Cause.GROUP]:.0%} follow what the person's gender is steered to."
        )
        return world

    def _ingest(self) -> None:
        """Put the files into the store."""
        self._tell.step("Ingest", "rag-rec ingest: items, users, then interactions.")
        rows = []
        for kind, name in (("items", ITEMS), ("users", USERS), ("interactions", INTERACTIONS)):
            path = self._folder / "world" / name
            done = self._commands.run("ingest", str(path), "--format", path.suffix[1:], "--kind", kind)
            rows.append({"kind": kind, **{name: done[name] for name in ("accepted", "rejected", "seconds")}})
        self._result["ingest"] = rows
        self._tell.rows(rows)
        check(not any(row["rejected"] for row in rows), "every row of the world is accepted")

    def _build(self) -> None:
        """Embed, count, fit, index, verify and publish."""
        self._tell.step("Build", "rag-rec index build: embed the texts, count, fit the reranker, verify, publish.")
        built = self._commands.run("index", "build")
        self._result["build"] = built
        self._tell.facts(built)

    def _compact(self) -> None:
        """Train the compact generator, and measure whether it improves on the candidates' order."""
        self._tell.step(
            "Train the LLM",
            "rag-rec compact build: a small Llama whose base knows the catalogue and no person; an adapter learns from "
            "people; their newest choices, which it did not learn, decide whether it takes part.",
        )
        built = self._commands.run("compact", "build", "--epochs", str(EPOCHS))
        self._result["compact"] = built
        self._tell.facts({name: value for name, value in built.items() if name != "gate"})
        self._tell.gate(built["gate"])

    @contextmanager
    def _apis(self, service: RunningService) -> Iterator[tuple[Api, Api]]:
        """The running service, seen by an application and by a privacy officer."""
        self._tell.step("Serve", "rag-rec serve, in a process of its own, with one API key per role.")
        url = service.wait_until_ready()
        self._tell.line(f"Listening on {url}")
        application, privacy = Api(url, self._application_key), Api(url, self._privacy_key)
        try:
            yield application, privacy
        finally:
            application.close()
            privacy.close()

    def _recommend(self, api: Api, user_id: str, world: World) -> None:
        """The same question under the three strategies of choosing evidence."""
        self._tell.step(
            "Recommend", "Three strategies pick what the prompt sees and may be cited; the source says who decided."
        )
        self._tell.history(user_id, [row for row in world.interactions if row.user_id == user_id], world.items)
        answers = {strategy: api.recommend(user_id, strategy) for strategy in Strategy}
        self._tell.recommendations(answers, world.items)
        for answer in answers.values():
            check(answer["provenance"]["known_user"] and len(answer["items"]) == 5, "a known user gets a full list")
            check(any(item["reasons"] for item in answer["items"]), "an answer cites the user's own interactions")
            check(answer["provenance"]["source"] == self._expected_source(), "the LLM ranks where the gate lets it")
        self._result["recommendations"] = answers

    def _expected_source(self) -> str:
        gate = self._result["compact"]["gate"]
        return Source.FUSED if isinstance(gate, Mapping) and gate["use"] else Source.CANDIDATES

    def _learn(self, api: Api, user_id: str, world: World) -> None:
        """An event changes the next answer."""
        self._tell.step("Learn", "One event arrives; the very next recommendation knows it.")
        before = api.recommend(user_id, k=LONG_LIST)
        taken, sequel = next_in_series(world, user_id, [item["item_id"] for item in before["items"]])
        event = {"item_id": taken, "event": "rating", "value": 5, "time": self._parameters.end_ms + MINUTE_MS}
        stored = api.add(user_id, event)
        after = api.recommend(user_id, k=LONG_LIST)
        places = [place_of(sequel, answer) for answer in (before, after)] if sequel else []
        self._tell.learnt(taken, sequel, places, before, after, world.items)
        self._result["learn"] = {"item": taken, "sequel": sequel, "place_of_sequel": places}
        check(stored["accepted"] == 1, "the event is stored")
        check(after["provenance"]["epoch"] > before["provenance"]["epoch"], "the answer is newer than the event")
        check(place_of(taken, after) is None, "a film already seen is not recommended")

    def _forget(self, application: Api, privacy: Api, user_id: str) -> None:
        """Remove the person at once, then from the adapter, and prove it."""
        part = Forgetting(application, privacy, self._commands, self._tell, self._home, self._log)
        source = self._result["recommendations"][Strategy.PREFERENCE]["provenance"]["source"]
        self._result["forget"] = part.erase(user_id, source)
        request = self._result["forget"]["request"]
        self._result["unlearn"] = part.unlearn(request)
        self._tell.gate(self._result["unlearn"]["gate"])
        self._result["proof"] = part.prove(request, self._folder)

    def _rebuild(self, api: Api, world: World) -> None:
        """A new generation, while the service answers."""
        self._tell.step("Rebuild", "rag-rec index rebuild, while the service answers without a pause.")
        users = [row.user_id for row in world.interactions[-200:]]
        rebuilt = rebuild_under_load(api, self._commands, users)
        self._result["rebuild"] = rebuilt
        self._tell.facts(rebuilt)
        check(rebuilt["failed"] == 0, "no request fails while the index is rebuilt")
        check(rebuilt["generation_after"] == rebuilt["built"]["generation"], "the service takes up the new generation")


def next_in_series(world: World, user_id: str, recommended: list[str]) -> tuple[str, str | None]:
    """The first recommended film whose next part the user has not seen, and that part; else the first one, and None."""
    films = {film.item.id: film for film in world.films}
    seen = {row.item_id for row in world.interactions if row.user_id == user_id}
    parts = {(film.series, film.part): item_id for item_id, film in films.items() if film.series >= 0}
    for item_id in recommended:
        sequel = parts.get((films[item_id].series, films[item_id].part + 1))
        if sequel is not None and sequel not in seen:
            return item_id, sequel
    return recommended[0], None


def place_of(item_id: str, answer: Mapping[str, Any]) -> int | None:
    """Where an item stands in an answer, from 1 on."""
    ids = [item["item_id"] for item in answer["items"]]
    return ids.index(item_id) + 1 if item_id in ids else None


def prepare(folder: Path, parameters: WorldParameters) -> None:
    """Make an empty folder. What an earlier demonstration left there is removed; nothing else ever is.

    Raises:
        InvalidInput: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise InvalidInput(f"{folder} is not empty and not a demonstration's: name another one with --folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_bytes(orjson.dumps(asdict(parameters), option=orjson.OPT_INDENT_2))


def protagonist(world: World) -> str:
    """The person whom the story follows: the last to act among those with a history of middle length."""
    lengths: dict[str, int] = {}
    for row in world.interactions:
        lengths[row.user_id] = lengths.get(row.user_id, 0) + 1
    wanted = sorted(lengths.values())[len(lengths) // 2]
    return next(row.user_id for row in reversed(world.interactions) if lengths[row.user_id] >= wanted)
