"""What the commands that train the compact generator share: options, the run, and what they print of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import CompactFolder
from rag_rec.commands.printing import Answer
from rag_rec.engine.tending import open_saga
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.generators.failures import GeneratorFailure
from rag_rec.home.opening import existing_store_of
from rag_rec.index.generation import Generations
from rag_rec.layers.records import ForgetRecord
from rag_rec.progress.protocol import Progress
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder

if TYPE_CHECKING:
    from indexer.compact_build import CompactBuilder, CompactSettings


class Device(StrEnum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over all people.")]
Rank = Annotated[int | None, typer.Option(min=1, help="Rank of the adapter. Default: the width, which loses nothing.")]
Context = Annotated[int | None, typer.Option(min=1, help="Most items that the model reads of one person at a time.")]
HeldOut = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Share of the people whose newest item is left out, for `rag-rec generator gate` to ask for. "
        "Default: enough people to tell a gain from noise.",
    ),
]
Reserve = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.5,
        help="Share of the people from whom nothing is learned, so that it can be measured what "
        "`rag-rec adapter unlearn --method influence` leaves, and that shards can be added up. Default: none.",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Into how many shards people are put, each learned apart, so that "
        "`rag-rec adapter unlearn --method shards` trains only those again that held somebody. More than one needs a "
        "reserve. Default: 1.",
    ),
]
Together = Annotated[
    int | None,
    typer.Option(min=0, help="Passes over everybody that follow the shards, where there are several. Default: 6."),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to train; auto takes a GPU if there is one.")]


def train(job: str, settings: Settings, how: CompactSettings, make: Callable[[CompactBuilder], str]) -> Answer:
    """Train an adapter, settle the forget requests that waited for it, and measure whether it helps.

    Args:
        job: what the command is called.
        settings: of the system.
        how: to train.
        make: publishes the adapter, puts it to use, and returns its digest.
    """
    from indexer.compact_build import CompactBuilder  # noqa: PLC0415 - imports torch

    store = existing_store_of(settings)
    started = time.perf_counter()
    try:
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        saga = open_saga(settings, store)
        waited = saga.pending()  # before the adapter goes: a running service may settle them first
        with Shown(job) as shown:
            builder = CompactBuilder(store, Generations(settings.generations), settings, embedder, shown, how)
            adapter = make(builder)
            shown.stage("settle forget requests", 0)
            settled = saga.settle(waited)
            left, names = saga.pending(), saga.services()
            measured = _gate(settings, store, shown, embedder)
    finally:
        store.close()
    seconds = round(time.perf_counter() - started, 3)
    done = {**_summary(builder.compact, adapter), "settled": settled, "open": len(left)}
    return _answer(done, {"gate": measured, "seconds": seconds}, left, names)


def changed(how: CompactSettings, base: Mapping[str, Any], adapter: Mapping[str, Any]) -> CompactSettings:
    """The settings with the options that were given; None is one that was not."""
    return replace(how, base=replace(how.base, **_given(base)), adapter=replace(how.adapter, **_given(adapter)))


def trained_with(adapter: CompactFolder) -> Mapping[str, Any]:
    """What is shown of an adapter's training."""
    settings = adapter.manifest.settings
    return {name: settings[name] for name in ("epochs", "rank", "held_out", "loss")} | {
        "shards": settings.get("shards", 1)
    }


def _answer(
    done: dict[str, Any], rest: dict[str, Any], left: Sequence[ForgetRecord], names: Mapping[str, str]
) -> Answer:
    """What the commands print; where forget requests are left open, also what the oldest of them waits for."""
    if not left:
        return Answer({**done, **rest, "oldest_open": None}, {**done, **rest})
    outlook = Outlook.of(left[0])
    shown = {"request": left[0].request_id, **outlook.content()}
    return Answer({**done, **rest, "oldest_open": shown}, {**done, **outlook.words(names), **rest})


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _gate(settings: Settings, store: Store, progress: Progress, embedder: Embedder) -> Mapping[str, Any] | str:
    """Measure at once whether the new generator helps; the reason where that cannot be told."""
    from indexer.generator_commands import measure  # noqa: PLC0415 - imports the numerical libraries

    try:
        here = settings.model_copy(update={"generator": "local", "generator_model": None})
        return measure(here, store, progress, embedder).document()
    except (GeneratorFailure, InvalidInput, NotReady) as reason:
        return f"not measured: {reason}"


def _summary(compact: AdapterStore, digest: str) -> Mapping[str, Any]:
    from rag_rec.compact.adapter import served_rank  # noqa: PLC0415 - imports torch

    adapter = compact.open_adapter(digest)
    trained = adapter.manifest
    base = compact.open_base(str(trained.parent)).manifest
    return {
        "base": base.digest,
        "adapter": digest,
        "epoch": trained.epoch,
        "items": base.counts["items"],
        "base_parameters": base.counts["parameters"],
        "adapter_parameters": trained.counts["parameters"],
        "users": trained.counts["users"],
        "interactions": trained.counts["interactions"],
        "left_out": trained.counts["held_out"],
        **trained_with(adapter),
        "vllm_max_lora_rank": served_rank(trained.settings["rank"]),
    }
