"""Takes forgotten people out of the adapter now and then, in a process of its own: `rag-rec adapter unlearn`.

The service goes on answering meanwhile, and takes the new adapter up by itself. A removal that fails or is refused
changes nothing, and is tried again the next time; what is left open is in the metrics of the forget requests.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from serving.service import Service

COMMAND: Final = (
    *(sys.executable, "-c", "from rag_rec.commands.app import main; main()"),
    *("adapter", "unlearn", "--json"),
)
MINUTE: Final = 60.0
FIRST_WORKER: Final = 1
MOST_SAID: Final = 65_536
"""Characters of the command's answer that are read."""


class Unlearning:
    """The duty of a service; of several workers on one data folder, the first one has it.

    Args:
        service: whose forget requests wait.
        minutes: between two looks; 0 for never.
        command: what is run.
    """

    def __init__(self, service: Service, minutes: float, command: Sequence[str] = COMMAND) -> None:
        self._service = service
        self._seconds = minutes * MINUTE
        self._command = command

    async def repeat(self) -> None:
        """Look whether requests wait, and run the command if so, until cancelled."""
        while self._seconds and self._service.number == FIRST_WORKER:
            await asyncio.sleep(self._seconds)
            engine = self._service.engine
            try:
                pending = [] if engine is None else await self._service.inspections.run(engine.officer.pending)
                if pending:
                    await self._run()
            except Exception as error:  # as every duty it goes on, whatever one look meets
                self._service.log.error("unlearning_failed", code=getattr(error, "code", type(error).__name__))

    async def _run(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said, _ = await process.communicate()
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.terminate()
            await process.wait()
        self._tell(said[:MOST_SAID])

    def _tell(self, said: bytes) -> None:
        """Log what the command answered, as far as it is of no person: a method, digests, counts, or a code."""
        try:
            answer: dict[str, Any] = orjson.loads(said)
        except ValueError:
            answer = {"error": {"code": "ended"}}
        if "error" in answer:
            self._service.log.info("not_unlearned", code=answer["error"]["code"])
            return
        told = {name: answer[name] for name in ("removal", "exact", "requests", "settled", "adapter")}
        self._service.log.info("unlearned", **told)
