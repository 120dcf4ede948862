"""The commands ``rag-rec compact build | list | activate``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.progress import Bars
from rag_rec.cli import Json, command
from rag_rec.compact.folder import CompactFolder, CompactStore, InUse
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.generation import Generations
from rag_rec.generators.failures import GeneratorFailure
from rag_rec.settings import Settings
from rag_rec.store import open_store
from rag_rec.store.protocol import Store
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Embedder

if TYPE_CHECKING:
    from indexer.compact_build import Compact, CompactSettings

HEAD_WIDTH = 32
"""Of an attention head: the least that vLLM takes on a CPU."""

app = typer.Typer(help="Build the compact generator, and choose the adapter in use.", no_args_is_help=True)


class Device(StrEnum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over all people.")]
Width = Annotated[int | None, typer.Option(min=8, help="Width of the model.")]
Layers = Annotated[int | None, typer.Option(min=1, help="Layers of the model.")]
Rank = Annotated[int | None, typer.Option(min=1, help="Rank of the adapter. Default: the width, which loses nothing.")]
Context = Annotated[int | None, typer.Option(min=1, help="Most items that the model reads of one person at a time.")]
HeldOut = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of the people whose newest item is left for `rag-rec generator gate`."),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to train; auto takes a GPU if there is one.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Build a new base even if the catalogue is as it was.")]


@app.command("build")
@command
def build(  # noqa: PLR0913 - one parameter for each option
    epochs: Epochs = None,
    width: Width = None,
    layers: Layers = None,
    rank: Rank = None,
    context: Context = None,
    held_out: HeldOut = None,
    device: DeviceOption = Device.AUTO,
    fresh: Fresh = False,
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Train the compact generator, put it to use, and measure whether it helps.

    Interrupted, the same command goes on where it was.
    """
    from indexer.compact_build import CompactBuilder  # noqa: PLC0415 - imports torch

    settings = Settings()
    how = _how(settings, device)
    base = {"width": width, "heads": width and max(1, width // HEAD_WIDTH), "layers": layers}
    adapter = {"epochs": epochs, "rank": rank, "context": context, "held_out": held_out}
    how = replace(how, base=replace(how.base, **_given(base)), adapter=replace(how.adapter, **_given(adapter)))
    embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
    store = open_store(settings.database_url)
    started = time.perf_counter()
    try:
        with Bars() as bars:
            generations = Generations(settings.generations)
            built = CompactBuilder(store, generations, settings, embedder, bars, how).build(fresh=fresh)
            measured = _gate(settings, store, bars, embedder)
    finally:
        store.close()
    return {**_summary(built), "gate": measured, "seconds": round(time.perf_counter() - started, 3)}


@app.command("list")
@command
def list_adapters(json: Json = False) -> Mapping[str, Any]:  # noqa: ARG001 - read by the wrapper
    """The bases and adapters there are, oldest first."""
    compact = CompactStore(Settings().compact)
    used = compact.current()
    bases = [compact.open_base(digest) for digest in compact.base_digests()]
    adapters = [compact.open_adapter(digest) for digest in compact.adapter_digests()]
    return {
        "base": used and used.base,
        "adapter": used and used.adapter,
        "bases": [_describe(base, used is not None and used.base == base.digest) for base in bases],
        "adapters": [
            {**_describe(adapter, used is not None and used.adapter == adapter.digest), **_trained(adapter)}
            for adapter in adapters
        ],
    }


@app.command("activate")
@command
def activate(
    adapter: Annotated[str, typer.Argument(help="Digest of an adapter, or `none` for the base alone.")],
    json: Json = False,  # noqa: ARG001 - read by the wrapper
) -> Mapping[str, Any]:
    """Put an adapter to use, with the newest base that it fits. A running service takes it up by itself."""
    compact = CompactStore(Settings().compact)
    chosen = _chosen(compact, adapter)
    compact.set_current(chosen.base, chosen.adapter)
    return {"base": chosen.base, "adapter": chosen.adapter}


def _how(settings: Settings, device: Device) -> CompactSettings:
    from indexer.compact_build import CompactSettings, choose_device  # noqa: PLC0415 - imports torch
    from rag_rec.compact.base import BaseSettings  # noqa: PLC0415 - imports torch
    from rag_rec.compact.training import AdapterSettings  # noqa: PLC0415 - imports torch

    base, adapter = BaseSettings(seed=settings.seed), AdapterSettings(seed=settings.seed)
    return CompactSettings(base, adapter, choose_device(device.value))


def _gate(settings: Settings, store: Store, bars: Bars, embedder: Embedder) -> Mapping[str, Any] | str:
    """Measure at once whether the new generator helps; the reason where that cannot be told."""
    from indexer.generator_commands import measure  # noqa: PLC0415 - imports the numerical libraries

    try:
        here = settings.model_copy(update={"generator": "local", "generator_model": None})
        return asdict(measure(here, store, bars, embedder))
    except (GeneratorFailure, InvalidInput, NotReady) as reason:
        return f"not measured: {reason}"


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _summary(built: Compact) -> Mapping[str, Any]:
    from rag_rec.compact.adapter import served_rank  # noqa: PLC0415 - imports torch

    trained = built.adapter.manifest
    return {
        "base": built.base.digest,
        "adapter": built.adapter.digest,
        "epoch": trained.epoch,
        "items": built.base.manifest.counts["items"],
        "base_parameters": built.base.manifest.counts["parameters"],
        "adapter_parameters": trained.counts["parameters"],
        "users": trained.counts["users"],
        "interactions": trained.counts["interactions"],
        **_trained(built.adapter),
        "vllm_max_lora_rank": served_rank(trained.settings["rank"]),
    }


def _chosen(compact: CompactStore, adapter: str) -> InUse:
    if adapter == "none":
        base, _ = compact.open_current()
        return InUse(base.digest)
    lineage = compact.open_adapter(adapter).manifest.lineage
    bases = (compact.open_base(digest) for digest in reversed(compact.base_digests()))
    found = next((base for base in bases if base.manifest.lineage == lineage), None)
    if found is None:
        raise InvalidInput("The base of this adapter is gone: run `rag-rec compact build`.")
    return InUse(found.digest, adapter)


def _describe(folder: CompactFolder, current: bool) -> Mapping[str, Any]:
    manifest = folder.manifest
    size = sum(digest.size for digest in manifest.files.values())
    return {
        "digest": manifest.digest,
        "current": current,
        "created": manifest.created,
        "parent": manifest.parent,
        "epoch": manifest.epoch,
        "bytes": size,
        **manifest.counts,
    }


def _trained(adapter: CompactFolder) -> Mapping[str, Any]:
    settings = adapter.manifest.settings
    return {name: settings[name] for name in ("epochs", "rank", "held_out", "loss")}
