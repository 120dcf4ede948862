"""Which connections may stay: a model without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from serving.connections import Connections


@dataclass(eq=False)
class Wire:
    address: str = "10.0.0.1"
    left: int = 0
    ended: list[str] = field(default_factory=list)

    def unread(self) -> int:
        return self.left

    def expire(self) -> None:
        self.ended.append("expired")

    def drop(self) -> None:
        self.ended.append("dropped")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connections(clock: Clock) -> Connections:
    return Connections(most=3, most_of_address=2, unread_seconds=30, now=clock)


def opened(connections: Connections, address: str = "10.0.0.1") -> Wire:
    wire = Wire(address)
    assert connections.admit(wire)
    connections.wait(wire, 10)
    return wire


def test_the_one_waited_for_longest_makes_room(connections: Connections) -> None:
    first, second, third = (opened(connections, f"10.0.0.{number}") for number in range(3))
    connections.wait(first, 10)  # it has been answered since
    opened(connections, "10.0.0.9")
    assert (first.ended, second.ended, third.ended) == ([], ["dropped"], [])
    assert (len(connections), connections.evicted, connections.refused) == (3, 1, 0)


def test_one_that_the_service_works_for_is_not_ended(connections: Connections) -> None:
    wires = [opened(connections, f"10.0.0.{number}") for number in range(3)]
    for wire in wires:
        connections.work(wire)
    assert not connections.admit(Wire("10.0.0.9"))
    assert connections.refused == 1
    connections.wait(wires[1], 10)
    assert connections.admit(Wire("10.0.0.9"))
    assert [wire.ended for wire in wires] == [[], ["dropped"], []]


def test_an_address_makes_room_for_itself_only(connections: Connections) -> None:
    other = opened(connections, "10.0.0.2")
    first, second = opened(connections), opened(connections)
    opened(connections)
    assert (other.ended, first.ended, second.ended) == ([], ["dropped"], [])
    connections.work(second)
    for wire in list(connections._open):
        connections.work(wire)
    assert not connections.admit(Wire())
    connections.remove(other)
    assert not connections.admit(Wire())  # there is room, and not for this address


def test_counts_come_back_when_connections_go(connections: Connections) -> None:
    for _ in range(10):
        wires = [opened(connections, f"10.0.0.{number}") for number in range(3)]
        for wire in wires:
            connections.remove(wire)
            connections.remove(wire)
    assert len(connections) == 0
    assert not connections._of_address
    assert not connections._waiting


def test_a_caller_who_takes_too_long_is_cut(connections: Connections, clock: Clock) -> None:
    slow, busy = opened(connections), opened(connections)
    connections.work(busy)
    clock.now = 9.9
    connections.sweep()
    assert slow.ended == []
    clock.now = 10.1
    connections.sweep()
    connections.sweep()
    assert (slow.ended, busy.ended, connections.expired) == (["expired"], [], 1)


def test_a_caller_who_takes_nothing_of_an_answer_is_cut(connections: Connections, clock: Clock) -> None:
    stuck, reading = opened(connections), opened(connections)
    for wire in (stuck, reading):
        connections.work(wire)
        wire.left = 1000
    for clock.now in range(0, 60, 5):
        reading.left -= 10
        connections.sweep()
    assert stuck.ended[0] == "dropped"
    assert reading.ended == []
