"""What the two processes say to each other, as JSON: each message on its own, none of it ever on disk."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from rag_rec import errors
from rag_rec.errors import RagRecError
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest

Method = Literal["epoch", "reach", "prepare", "discard", "follow", "sound", "agrees", "holds"]


@dataclass(frozen=True)
class Order:
    """To the worker: carry out a request, for the replica with this id."""

    request: ForgetRequest
    replica: str | None
    kind: Literal["order"] = "order"


@dataclass(frozen=True)
class Question:
    """From the worker: call a method of :class:`rag_rec.layers.memory.Memory`."""

    method: Method
    arguments: list[Any]
    kind: Literal["question"] = "question"


@dataclass(frozen=True)
class Reply:
    """To the worker: what the method returned."""

    value: Any
    kind: Literal["reply"] = "reply"


@dataclass(frozen=True)
class Alive:
    """From the worker, now and then: the request is being carried out."""

    kind: Literal["alive"] = "alive"


@dataclass(frozen=True)
class Done:
    """From the worker: the request has been carried out."""

    outcome: ForgetOutcome
    kind: Literal["done"] = "done"


@dataclass(frozen=True)
class Failure:
    """From either: an error, by the name of its type. The text is kept only of our own, which name no person."""

    error: str
    text: str
    kind: Literal["failure"] = "failure"

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The failure that an error is."""
        return cls(type(error).__name__, str(error) if isinstance(error, RagRecError) else "")

    def raised(self) -> RagRecError:
        """The error again."""
        known = getattr(errors, self.error, None)
        if isinstance(known, type) and issubclass(known, RagRecError):
            return known(self.text)
        return RagRecError(f"The removal met an unexpected error ({self.error}); see the log.")


Message = Annotated[Order | Question | Reply | Alive | Done | Failure, Field(discriminator="kind")]
_MESSAGE: Final[TypeAdapter[Message]] = TypeAdapter(Message, config=ConfigDict(cache_strings="none"))
"""Without the cache of strings, which would keep the ids of the last thousands of people for as long as it runs."""


def send(connection: Connection, message: Message) -> None:
    """Send a message. Raises ``OSError`` where the other end is gone."""
    connection.send_bytes(_MESSAGE.dump_json(message))


def receive(connection: Connection) -> Message:
    """Wait for a message. Raises ``EOFError`` or ``OSError`` where the other end is gone."""
    return _MESSAGE.validate_json(connection.recv_bytes())
