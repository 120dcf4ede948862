"""``rag-rec doctor``: looks at every part of an installation, and says what to do where something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import typer

from rag_rec.adapters.lineage import owing
from rag_rec.artifacts.signature import Signed
from rag_rec.clock import iso, now_ms
from rag_rec.commands.app import command
from rag_rec.domain import Candidate, Item, User
from rag_rec.engine.system import signer_of
from rag_rec.errors import NoSystem, RagRecError
from rag_rec.events.rule import rules_document
from rag_rec.fairness.control import Control
from rag_rec.forgetting.ledger.comparison import compare, verified
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.generators.protocol import Backend, EvidenceLine, Prompt
from rag_rec.generators.spec import GeneratorSpec, wanted
from rag_rec.home.keys import key_places
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.index.signed import check_generation, signature_of
from rag_rec.index.tally import Tally
from rag_rec.presence.awaited import awaited, named
from rag_rec.recommend.gate import Gate, load_control, load_gate
from rag_rec.recommend.opening import open_generator
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

app = typer.Typer()

FEW_ASKED = 1000
"""Fewer people than this show a gain of .01 in NDCG@10 only now and then."""
PROBED = 5
"""Items that the probe of the LLM ranks."""
NO_BOUND = 1e-12
"""The probe wants to see the label mass, however small."""


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    NOTE = "note"  # works, but could be better
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, how it is, and what to know or do."""

    part: str
    state: State
    detail: str


@app.command("doctor")
@command
def doctor() -> Mapping[str, Any]:
    """Check store, keys, ledger, forget requests, index and generator, and say what to do where something is wrong."""
    found = examine(Settings())
    ok = all(finding.state is not State.FAILED for finding in found)
    return {"ok": ok, "findings": [asdict(finding) for finding in found]}


def examine(settings: Settings) -> list[Finding]:
    """Look at every part, in the order in which they depend on each other."""
    try:
        store = existing_store_of(settings)
    except NoSystem as error:
        return [Finding("store", State.FAILED, str(error))]
    try:
        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("store", lambda: _store(store)),
            ("events", lambda: _events(store, settings)),
            ("keys", lambda: _keys(settings, store)),
            ("ledger", lambda: _ledger(settings, store)),
            ("forgetting", lambda: _forgetting(store)),
            ("data folders", lambda: _places(store)),
            ("index", lambda: _index(settings, store)),
            ("generator", lambda: _generator(settings, store)),
        ]
        return [finding for part, check in checks for finding in _checked(part, check)]
    finally:
        store.close()


def _checked(part: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except RagRecError as error:
        return [Finding(part, State.FAILED, str(error))]


def _store(store: Store) -> Iterator[Finding]:
    counts = store.counts()
    text = f"{counts.users} users, {counts.items} items, {counts.interactions} interactions, epoch {store.epoch()}"
    yield Finding("store", State.OK, text)


def _events(store: Store, settings: Settings) -> Iterator[Finding]:
    tally = Tally.of(store, settings.event_rules)
    if tally.unknown:
        named = ", ".join(f"{name} ({rows})" for name, rows in tally.unknown.items())
        text = f"some have no rule and say nothing: {named}. RAGREC_EVENTS gives them one."
        yield Finding("events", State.NOTE, text)
    if tally.unvalued:
        text = f"{tally.unvalued} without the value that their event needs, from an earlier version, count as positive"
        yield Finding("events", State.NOTE, text)
    if tally.warning is not None:
        yield Finding("events", State.NOTE if tally.positive else State.FAILED, tally.warning)
    else:
        yield Finding("events", State.OK, f"{tally.positive} of {tally.stored} interactions are positive")


def _keys(settings: Settings, store: Store) -> Iterator[Finding]:
    places = key_places(settings)
    signer_of(settings, store)
    shown = ", ".join(f"{name} key: {place or 'made just now'}" for name, place in places.items())
    yield Finding("keys", State.OK, f"{shown}. Keep a copy of each, apart from the store and its backups")


def _ledger(settings: Settings, store: Store) -> Iterator[Finding]:
    copy = LedgerFile(settings.ledger_file)
    copied = copy.read()
    entries = verified(store, settings)
    compare(entries, copied, copy.path)
    yield Finding("ledger", State.OK, f"{len(entries)} entries, sound, and the same in the copy at {copy.path}")


def _forgetting(store: Store) -> Iterator[Finding]:
    pending = store.forget_records(pending=True)
    if not pending:
        yield Finding("forgetting", State.OK, "no request is pending")
        return
    nearest = min(record.deadline for record in pending)
    state = State.FAILED if nearest < now_ms() else State.NOTE
    text = f"{len(pending)} requests are pending, the nearest deadline is {iso(nearest, 'seconds')}"
    yield Finding("forgetting", state, f"{text}: `rag-rec forget list --pending` lists them.")


def _places(store: Store) -> Iterator[Finding]:
    behind = awaited(store.places(), store.erasure_epoch(), None)
    if behind:
        todo = "Start its service or run `rag-rec place clean` there; see `rag-rec place list`."
        text = f"not looked at since the newest erasure: {named(behind)}. {todo}"
        yield Finding("data folders", State.NOTE, text)


def _index(settings: Settings, store: Store) -> Iterator[Finding]:
    generation = Generations(settings.generations).current()
    behind = store.epoch() - generation.manifest.epoch
    check_generation(generation, settings)
    found = signature_of(generation, settings)
    text = f"generation {generation.id}, every byte as its manifest says, {behind} changes behind the store"
    if found is Signed.UNSIGNED:
        advice = "an earlier version made it, or its signature was removed: run `rag-rec index rebuild`"
        yield Finding("index", State.NOTE, f"{text}; not signed: {advice}")
    else:
        yield Finding("index", State.OK, f"{text}, {'no key to check a signature' if found is None else found}")
    if generation.manifest.settings.get("events") != rules_document(settings.event_rules):
        text = "it was built with other rules of events: run `rag-rec index build`, or profiles follow the old rules."
        yield Finding("index", State.NOTE, text)


def _generator(settings: Settings, store: Store) -> Iterator[Finding]:
    target = wanted(settings)
    if settings.exposure_figures:
        yield _exposure(load_control(settings, None if target is None else load_gate(settings, target)))
    if target is None:
        text = "no LLM ranks: the candidates' order is the answer. `rag-rec compact build` makes one."
        yield Finding("generator", State.NOTE, text)
        return
    yield from _probe(settings, target, store)
    yield _gate(load_gate(settings, target), settings)
    if target.adapter_digest in owing(store):
        text = "it saw a forgotten person, and does not rank any more, or not for long"
        yield Finding("adapter", State.NOTE, f"{text}: run `rag-rec adapter retrain`.")


def _probe(settings: Settings, target: GeneratorSpec, store: Store) -> Iterator[Finding]:
    """Let the LLM rank a few items for an invented user, and look at the label mass."""
    with closing(open_generator(settings.model_copy(update={"generator_least_mass": NO_BOUND}), target)) as model:
        model.backend.use_adapter(target.adapter)
        yield from _servers(model.backend)
        items = [item for item, _ in zip(store.items(), range(PROBED), strict=False)]
        if not items:
            yield Finding("generator", State.NOTE, "it could be opened; there are no items yet that it could rank.")
            return
        ranking = model.rank(_probe_prompt(items))
    mass = ranking.label_mass or 0.0
    text = f"{target.kind}, model {target.digest}, adapter {target.adapter_digest}: label mass {mass:.3g}"
    if model.encoder.ordered and mass < model.encoder.least_mass:
        yield Finding("generator", State.NOTE, f"{text}, too little to rely on: use an instruction-tuned LLM.")
    else:
        yield Finding("generator", State.OK, text)


def _servers(backend: Backend) -> Iterator[Finding]:
    """What is wrong with each server; the others can answer without it."""
    from rag_rec.generators.vllm import VllmBackend  # noqa: PLC0415 - only where it is used

    if isinstance(backend, VllmBackend):
        for server in backend.status():
            for text in (server.problem, server.outdated):
                if text is not None:
                    yield Finding("server", State.NOTE, text)


def _probe_prompt(items: list[Item]) -> Prompt:
    by_id = {item.id: item for item in items}
    evidence = [EvidenceLine(item.id, "like", 0) for item in items[:1]]
    return Prompt(User("nobody"), evidence, [Candidate(item.id, 0.0) for item in items], by_id.__getitem__)


def _exposure(control: Control | None) -> Finding:
    if control is None:
        text = "nothing is held back: it was not learned for these figures how far. Run `rag-rec generator gate`."
        return Finding("exposure", State.NOTE, text)
    if control.idle:
        text = "nothing is held back: no strength made the order fairer within RAGREC_EXPOSURE_BUDGET."
        return Finding("exposure", State.NOTE, text)
    held = ", ".join(f"{name} by {strength}" for name, strength in control.named(fused=False).items())
    fused = ", ".join(f"{name} by {strength}" for name, strength in control.named(fused=True).items())
    text = f"held back: {held or 'nothing'} in the candidates' order, {fused or 'nothing'} in the fused one"
    return Finding("exposure", State.OK, text)


def _gate(gate: Gate | None, settings: Settings) -> Finding:
    if gate is None:
        text = "the LLM is bypassed: it was not measured whether it helps. Run `rag-rec generator gate`."
        return Finding("gate", State.NOTE, text)
    if not settings.generator_gate:
        return Finding("gate", State.NOTE, "turned off: the LLM takes part whether it helps or not.")
    if gate.use:
        return Finding(
            "gate", State.OK, f"the LLM takes part, candidates weigh {gate.weight}. The gate is {gate.words}"
        )
    return Finding("gate", State.NOTE, f"the LLM is bypassed. The gate is {gate.words}. {_how_to_open(gate)}")


def _how_to_open(gate: Gate) -> str:
    """What may change a closed gate."""
    if gate.gain is None:
        return "Run `rag-rec generator gate`."
    if gate.gain[1] <= 0:
        return "This LLM ranks no better than the candidates' order, and more people would not change it."
    if gate.users < FEW_ASKED:
        return (
            "Few people were asked, so that only a large gain could be told from noise: build the adapter again with "
            "`rag-rec compact build`, which leaves out as many newest choices as are needed, or wait for more people."
        )
    return "More people or another LLM may tell."
