"""The commands ``rag-rec serve`` and ``rag-rec openapi``."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

import orjson
import typer

from rag_rec.commands.app import Json, command
from rag_rec.errors import InvalidInput
from rag_rec.home.opening import check_system
from rag_rec.settings import Settings
from serving.allocator import begin_again, can_overwrite, is_overwriting, overwriting
from serving.app import create_app
from serving.auth import Keyring
from serving.key_file import open_keyring
from serving.logs import Log, capture_libraries, open_log
from serving.opening import limits_of, open_engine
from serving.recommend_command import app as recommend_app
from serving.server import address_of, bind
from serving.server import serve as run_server
from serving.service import Service
from serving.supervisor import Supervisor
from serving.worker_process import Sockets, start_process

app = typer.Typer()
app.add_typer(recommend_app)


EARLY: Final = 0.9
"""A worker is replaced at this share of its greatest age, so that its successor is ready in time."""


class GeneratorKind(StrEnum):
    """What ranks the candidates; see :attr:`rag_rec.settings.Settings.generator`."""

    AUTO = "auto"
    PASSTHROUGH = "passthrough"
    LOCAL = "local"
    VLLM = "vllm"


@app.command("serve")
@command
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind to. Default: RAGREC_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Service processes, under a supervisor. Default: RAGREC_WORKERS.")
    ] = None,
    generator: Annotated[GeneratorKind | None, typer.Option(help="What ranks. Default: RAGREC_GENERATOR.")] = None,
    base_url: Annotated[
        list[str] | None, typer.Option(help="Base URL of a vLLM server; may be given several times.")
    ] = None,
) -> Mapping[str, Any]:
    """Serve the HTTP interface until interrupted. Logs go to stderr, one JSON object per line."""
    settings = _settings(generator, base_url, workers)
    if settings.workers is None:
        _overwrite_freed(settings)
    log, limits = open_log(), limits_of(settings)
    keyring = open_keyring(settings, log)
    capture_libraries()
    started = time.monotonic()
    listener = bind(settings.host if host is None else host, settings.port if port is None else port, limits.backlog)
    address = address_of(listener)
    if settings.workers is None:
        service = Service(settings, keyring, log, limits=limits)
        run_server(service, [listener], partial(open_engine, settings, capture_libraries))
        told: Mapping[str, Any] = {"requests": service.metrics.answered()}
    else:
        told = _supervise(settings, settings.workers, listener, log)
    seconds = round(time.monotonic() - started, 3)
    return {"ok": True, "host": address.host, "port": address.port, **told, "seconds": seconds}


def _supervise(settings: Settings, count: int, listener: socket.socket, log: Log) -> Mapping[str, Any]:
    """Run workers, which have everything from the environment."""
    check_system(settings)
    first, host, backlog = settings.worker_port, address_of(listener).host, limits_of(settings).backlog
    own = [] if first is None else [bind(host, first + place, backlog) for place in range(count)]
    sockets = Sockets(listener, own)
    log.info("supervising", workers=count, url=address_of(listener).url)
    start = partial(start_process, sockets, _environment(settings))
    recycle = None if settings.recycle_hours is None else EARLY * 3600 * settings.recycle_hours
    try:
        tally = Supervisor(start, count, log, recycle).run()
    finally:
        sockets.close()
    return {"workers": count, "restarts": tally.restarts, "replaced": tally.replaced}


def _environment(settings: Settings) -> dict[str, str]:
    """Of the workers: what the command line says instead of the environment goes to them, too."""
    environment = {
        **os.environ,
        "RAGREC_GENERATOR": settings.generator,
        "RAGREC_GENERATOR_URLS": orjson.dumps(settings.generator_urls).decode(),
    }
    return overwriting(environment) if settings.overwrite_freed and can_overwrite() else environment


def _overwrite_freed(settings: Settings) -> None:
    """Begin again where memory that is freed shall be overwritten, unless this is a part of another program."""
    if not settings.overwrite_freed or is_overwriting(os.environ):
        return
    if not can_overwrite():
        raise InvalidInput("RAGREC_OVERWRITE_FREED needs glibc, and this Python has another C library: unset it.")
    if sys.argv[1:2] == ["serve"]:
        begin_again()


def _settings(generator: GeneratorKind | None, base_url: list[str] | None, workers: int | None) -> Settings:
    """The settings of the environment with what the command line says instead."""
    given: dict[str, Any] = {}
    if generator is not None:
        given["generator"] = generator.value
    if base_url:
        given["generator_urls"] = base_url
    if workers is not None:
        given["workers"] = workers
    settings = Settings(**given)
    if settings.workers is None and (settings.recycle_hours is not None or settings.worker_port is not None):
        raise InvalidInput("RAGREC_RECYCLE_HOURS and RAGREC_WORKER_PORT need a supervisor: add --workers 1, or more.")
    if base_url and settings.generator != "vllm":
        raise InvalidInput("--base-url names vLLM servers, and no vLLM generator is asked for: add --generator vllm.")
    return settings


@app.command("openapi")
@command
def openapi(json: Json = False) -> Mapping[str, Any]:
    """Print the OpenAPI document of the HTTP interface."""
    with closing(Service(Settings(), Keyring({}), open_log())) as service:
        document = create_app(service).openapi()
    if json:
        return document
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    return {}
