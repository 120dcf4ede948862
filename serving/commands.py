"""The commands ``rag-rec serve`` and ``rag-rec openapi``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import orjson
import typer

from rag_rec.cli import Json, command
from rag_rec.errors import InvalidInput
from rag_rec.settings import Settings
from serving.allocator import begin_again, can_overwrite, is_overwriting
from serving.app import create_app
from serving.auth import Keyring
from serving.descriptors import most_connections
from serving.engine import Engine
from serving.key_file import open_keyring
from serving.limits import Limits, limits_for
from serving.logs import capture_libraries, open_log
from serving.recommend_command import app as recommend_app
from serving.server import address_of, bind
from serving.server import serve as run_server
from serving.service import Service

app = typer.Typer()
app.add_typer(recommend_app)


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
    generator: Annotated[GeneratorKind | None, typer.Option(help="What ranks. Default: RAGREC_GENERATOR.")] = None,
    base_url: Annotated[
        list[str] | None, typer.Option(help="Base URL of a vLLM server; may be given several times.")
    ] = None,
    json: Json = False,  # noqa: ARG001
) -> Mapping[str, Any]:
    """Serve the HTTP interface until interrupted. Logs go to stderr, one JSON object per line."""
    settings = _settings(generator, base_url)
    _overwrite_freed(settings)
    log, limits = open_log(), _within_open_files(limits_for(settings))
    service = Service(settings, open_keyring(settings, log), log, limits=limits)
    capture_libraries()
    started = time.monotonic()
    listener = bind(settings.host if host is None else host, settings.port if port is None else port, limits.backlog)
    address = address_of(listener)
    run_server(service, listener, partial(_open_engine, settings))
    return {
        "ok": True,
        "host": address.host,
        "port": address.port,
        "requests": service.metrics.answered(),
        "seconds": round(time.monotonic() - started, 3),
    }


def _overwrite_freed(settings: Settings) -> None:
    """Begin again where memory that is freed shall be overwritten, unless this is a part of another program."""
    if not settings.overwrite_freed or is_overwriting(os.environ):
        return
    if not can_overwrite():
        raise InvalidInput("RAGREC_OVERWRITE_FREED needs glibc, and this Python has another C library: unset it.")
    if sys.argv[1:2] == ["serve"]:
        begin_again()


def _within_open_files(limits: Limits) -> Limits:
    """The limits with as many connections as the process may open."""
    most = most_connections(limits.connections)
    return replace(limits, connections=most, connections_of_address=min(most, limits.connections_of_address))


def _settings(generator: GeneratorKind | None, base_url: list[str] | None) -> Settings:
    """The settings of the environment with what the command line says instead."""
    given: dict[str, Any] = {}
    if generator is not None:
        given["generator"] = generator.value
    if base_url:
        given["generator_urls"] = base_url
    settings = Settings(**given)
    if base_url and settings.generator != "vllm":
        raise InvalidInput("--base-url names vLLM servers, and no vLLM generator is asked for: add --generator vllm.")
    return settings


def _open_engine(settings: Settings) -> Engine:
    # Imported here because they bring the numerical libraries, which --help does not need.
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    from rag_rec import engine  # noqa: PLC0415
    from rag_rec.forgetting.apart.process import RemovalProcess  # noqa: PLC0415

    # The matrices of one request are small: several threads inside it cost more than they give, and requests that are
    # answered side by side would fight for the same cores.
    threadpool_limits(limits=1)
    removals = RemovalProcess(settings, capture_libraries)
    try:
        return engine.Engine.open(settings, removals=removals)
    except BaseException:
        removals.close()
        raise


@app.command("openapi")
@command
def openapi(json: Json = False) -> Mapping[str, Any]:
    """Print the OpenAPI document of the HTTP interface."""
    service = Service(Settings(), Keyring({}), open_log())
    try:
        document = create_app(service).openapi()
    finally:
        service.close()
    if json:
        return document
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    return {}
