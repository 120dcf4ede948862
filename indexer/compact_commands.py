"""The commands ``rag-rec compact build | list | activate``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.compact_training import (
    Context,
    Device,
    DeviceOption,
    Epochs,
    HeldOut,
    Rank,
    Reserve,
    Shards,
    Together,
    changed,
    train,
    trained_with,
)
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import activate as put_to_use
from rag_rec.commands.app import command
from rag_rec.engine.tending import open_saga
from rag_rec.errors import InvalidInput, needs
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.places.occupation import own_place
from rag_rec.settings import Settings

if TYPE_CHECKING:
    from indexer.compact_build import CompactSettings

HEAD_WIDTH = 32
"""Of an attention head: the least that vLLM takes on a CPU."""

app = typer.Typer(help="Build the compact generator, and choose the adapter in use.", no_args_is_help=True)


Width = Annotated[int | None, typer.Option(min=8, help="Width of the model.")]
Layers = Annotated[int | None, typer.Option(min=1, help="Layers of the model.")]
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
    reserve: Reserve = None,
    shards: Shards = None,
    together: Together = None,
    device: DeviceOption = Device.AUTO,
    fresh: Fresh = False,
) -> Mapping[str, Any]:
    """Train the compact generator, put it to use, and measure whether it helps.

    Interrupted, the same command goes on where it was.
    """
    settings = Settings()
    base = {"width": width, "heads": width and max(1, width // HEAD_WIDTH), "layers": layers}
    adapter = {"epochs": epochs, "rank": rank, "context": context, "held_out": held_out, "reserve": reserve}
    adapter |= {"shards": shards, "together": together}
    how = changed(_how(settings, device), base, adapter)
    return train("compact build", settings, how, lambda builder: builder.build(fresh=fresh).adapter.digest)


@app.command("list")
@command
def list_adapters() -> Mapping[str, Any]:
    """The bases and adapters there are, oldest first."""
    settings = Settings()
    check_system(settings)
    compact = AdapterStore(settings.compact)
    used = compact.current()
    bases = [compact.open_base(digest) for digest in compact.base_digests()]
    adapters = [compact.open_adapter(digest) for digest in compact.adapter_digests()]
    return {
        "base": used and used.base,
        "adapter": used and used.adapter,
        "bases": [_describe(base, used is not None and used.base == base.digest) for base in bases],
        "adapters": [
            {**_describe(adapter, used is not None and used.adapter == adapter.digest), **trained_with(adapter)}
            for adapter in adapters
        ],
    }


@app.command("activate")
@command
def activate(
    adapter: Annotated[str, typer.Argument(help="Digest of an adapter, or `none` for the base alone.")],
) -> Mapping[str, Any]:
    """Put an adapter to use, with the newest base that it fits. A running service takes it up by itself.

    An adapter that saw a forgotten person is refused, and is destroyed when it is in use no more.
    """
    settings = Settings()
    compact = AdapterStore(settings.compact)
    with closing(existing_store_of(settings)) as store:
        chosen = _chosen(compact, adapter)
        saga = open_saga(settings, store)
        waited = saga.pending()
        put_to_use(store, compact, chosen, own_place(settings))
        settled = saga.settle(waited)
    return {"base": chosen.base, "adapter": chosen.adapter, "settled": settled}


def _how(settings: Settings, device: Device) -> CompactSettings:
    with needs("llm"):
        from indexer.compact_build import CompactSettings, choose_device  # noqa: PLC0415 - imports torch
        from rag_rec.compact.base import BaseSettings  # noqa: PLC0415 - imports torch
        from rag_rec.compact.training import AdapterSettings  # noqa: PLC0415 - imports torch

    base, adapter = BaseSettings(seed=settings.seed), AdapterSettings(seed=settings.seed)
    return CompactSettings(base, adapter, choose_device(device.value))


def _chosen(compact: AdapterStore, adapter: str) -> InUse:
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
