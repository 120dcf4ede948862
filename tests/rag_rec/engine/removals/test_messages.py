"""Messages between the two processes."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from rag_rec import errors
from rag_rec.engine.removals.messages import Done, Failure, Message, Order, Question, Reply, receive, send
from rag_rec.errors import LegalHold, RagRecError
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.store.records import Selection

REQUEST = ForgetRequest(
    ("a", "ü"), Selection(item_ids=frozenset({"i", "j"}), before=7), confirm="2", plan="p", lines=(1, 3)
)
OUTCOME = ForgetOutcome("r", ("r", "s"), "complete", "user", 1, 2, {"users": 2}, {"accept": 1.5}, repeated=True)


@pytest.mark.parametrize(
    "message",
    [
        Order(REQUEST, "replica"),
        Order(ForgetRequest.of("a"), None),
        Question("prepare", [3, [1, 2]]),
        Question("epoch", []),
        Reply({"profile_vectors": 1}),
        Reply(None),
        Done(OUTCOME),
        Failure("LegalHold", "why"),
    ],
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        send(ours, message)
        assert receive(theirs) == message


def test_an_error_arrives_with_type_and_text() -> None:
    again = Failure.of(LegalHold("a court case")).raised()
    assert type(again) is LegalHold
    assert str(again) == "a court case"


@pytest.mark.parametrize("error", [ValueError("a name"), OSError("a path"), KeyError("an id")])
def test_the_text_of_an_unexpected_error_is_not_sent(error: Exception) -> None:
    failure = Failure.of(error)
    assert failure.text == ""
    again = failure.raised()
    assert type(again) is RagRecError
    assert type(error).__name__ in str(again)


def test_what_is_no_error_of_ours_is_never_raised() -> None:
    assert hasattr(errors, "annotations")
    assert type(Failure("annotations", "x").raised()) is RagRecError


def test_ids_in_messages_are_kept_by_nothing() -> None:
    """A cache of strings would give the same object again."""
    person = "person-of-whom-nothing-else-speaks"
    ours, theirs = Pipe()
    received: list[str] = []
    with ours, theirs:
        for _ in range(2):
            send(ours, Order(ForgetRequest.of(person), None))
            order = receive(theirs)
            assert isinstance(order, Order)
            received.append(order.request.user_ids[0])
    assert received[0] == received[1] == person
    assert received[0] is not received[1]
