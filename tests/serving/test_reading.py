from __future__ import annotations

import asyncio

from serving.reading import CleanReading


class Taking(asyncio.Protocol):
    def __init__(self, taken: list[bytes]) -> None:
        self.taken = taken

    def data_received(self, data: bytes) -> None:
        self.taken.append(data)


def test_what_was_read_is_passed_on_and_overwritten() -> None:
    buffer, taken = bytearray(16), list[bytes]()
    reading = CleanReading(buffer, Taking, taken=taken)
    for sent in (b"one", b"another"):
        reading.get_buffer(-1)[: len(sent)] = sent
        reading.buffer_updated(len(sent))
        assert not any(buffer)
    assert taken == [b"one", b"another"]


def test_connections_share_the_buffer_and_mix_nothing() -> None:
    buffer, one, other = bytearray(16), list[bytes](), list[bytes]()
    readings = [CleanReading(buffer, Taking, taken=taken) for taken in (one, other)]
    for reading, sent in zip(readings, (b"mine", b"yours"), strict=True):
        reading.get_buffer(16)[: len(sent)] = sent
        reading.buffer_updated(len(sent))
    assert (one, other) == ([b"mine"], [b"yours"])
