"""Structured logs: one JSON object per line on stderr. No body or query is ever logged, and no identifier
of a person or an item; of a removal, that of the request.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, Protocol, TextIO

import orjson
import structlog

_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(serializer=orjson.dumps),
]


class Log(Protocol):
    """What the service needs of a logger."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log an event."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log an event that somebody should look at."""


def open_log(stream: BinaryIO | None = None, worker: int | None = None) -> Log:
    """A logger that writes one JSON object per line, to stderr unless told otherwise; ``worker`` is in each."""
    log: Log = structlog.wrap_logger(
        structlog.BytesLogger(stream or sys.stderr.buffer),
        processors=_PROCESSORS,
        cache_logger_on_first_use=True,
        **_tag(worker),
    )
    return log


def place_of(error: BaseException) -> str:
    """File and line where an exception was raised: its text may quote personal data, so it is not logged."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"


class JsonFormatter(logging.Formatter):
    """Writes the records of libraries as JSON, without the text of exceptions, which may quote personal data."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._tag = _tag(worker)

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        content = {
            "event": record.getMessage() if record.exc_info is None else "exception",
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            **self._tag,
        }
        if record.exc_info and record.exc_info[0]:
            content["error"] = record.exc_info[0].__name__
        return orjson.dumps(content).decode()


def capture_libraries(stream: TextIO | None = None, worker: int | None = None) -> None:
    """Send warnings and errors of the libraries through :class:`JsonFormatter`, and the log of ours the same way."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(worker))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    tag = partial(_tagged, _tag(worker))
    structlog.configure(
        processors=[tag, *_PROCESSORS], logger_factory=lambda *_: structlog.BytesLogger(sys.stderr.buffer)
    )


def _tag(worker: int | None) -> dict[str, Any]:
    return {} if worker is None else {"worker": worker}


def _tagged(
    tag: Mapping[str, Any], _logger: object, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    event.update(tag)
    return event
