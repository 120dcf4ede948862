"""The commands ``rag-rec index build | rebuild | verify | list | activate``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from indexer.build import Builder
from indexer.verify import verify_generation
from rag_rec.commands.app import command
from rag_rec.home.opening import check_system, existing_store_of
from rag_rec.index.generation import Generation, Generations, verify_files
from rag_rec.index.signed import generations_of
from rag_rec.index.tally import Tally
from rag_rec.progress.shown import Shown
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder

app = typer.Typer(help="Build, check and publish index generations.", no_args_is_help=True)

Name = Annotated[str | None, typer.Argument(help="Name of a generation; the current one if left out.")]


@app.command("build")
@command
def build() -> Mapping[str, Any]:
    """Build a generation from the store, verify it, and make it current. Vectors of unchanged texts are taken over."""
    return _build("index build", fresh=False)


@app.command("rebuild")
@command
def rebuild(
    embed_again: Annotated[
        bool, typer.Option("--embed-again", help="Embed every text again, also those whose vectors are known.")
    ] = False,
) -> Mapping[str, Any]:
    """Build a generation from the store as `build` does, verify it, and make it current.

    Counts, profiles, clusters and the reranker are made anew. A vector is taken over where the same model embedded the
    same text, and the files are as they were written.
    """
    return _build("index rebuild", fresh=embed_again)


@app.command("verify")
@command
def verify(name: Name = None) -> Mapping[str, Any]:
    """Check a generation's files against its manifest, and its content against the store."""
    settings = Settings()
    generations = Generations(settings.generations)
    with closing(existing_store_of(settings)) as store:
        generation = generations.open(name) if name else generations.current()
        with Shown("index verify") as shown:
            shown.stage("check files and content", 0)
            checked = verify_generation(generation, store)
    return {"generation": generation.id, "ok": True, **checked}


@app.command("list")
@command
def list_generations() -> Mapping[str, Any]:
    """The generations there are, oldest first."""
    generations = _generations()
    current = generations.current_id()
    described = [_describe(generations.open(name), name == current) for name in generations.names()]
    return {"current": current, "generations": described}


@app.command("activate")
@command
def activate(name: str) -> Mapping[str, Any]:
    """Make a generation current, after checking its files. A running service takes it up by itself."""
    generations = _generations()
    verify_files(generations.open(name))
    with generations.writing():
        generations.activate(name)
    return {"current": name}


def _generations() -> Generations:
    settings = Settings()
    check_system(settings)
    return Generations(settings.generations)


def _build(job: str, *, fresh: bool) -> Mapping[str, Any]:
    settings = Settings()
    store = existing_store_of(settings)
    started = time.perf_counter()
    try:
        tally = Tally.of(store, settings.event_rules)
        tally.check()
        embedder = open_embedder(settings.embedding_model, settings.embedding_threads)
        with Shown(job) as shown:
            builder = Builder(store, generations_of(settings), settings, embedder, shown)
            generation = builder.build(fresh=fresh)
    finally:
        store.close()
    seconds = round(time.perf_counter() - started, 3)
    return {
        "generation": generation.id,
        "epoch": generation.manifest.epoch,
        "seconds": seconds,
        **generation.manifest.counts,
        "positive": tally.positive,
        **({} if tally.warning is None else {"warning": tally.warning}),
    }


def _describe(generation: Generation, current: bool) -> Mapping[str, Any]:
    manifest = generation.manifest
    size = sum(digest.size for digest in manifest.files.values())
    return {
        "generation": manifest.id,
        "current": current,
        "created": manifest.created,
        "epoch": manifest.epoch,
        "bytes": size,
        **manifest.counts,
    }
