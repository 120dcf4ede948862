"""Looks for texts in the memory of running processes. Linux only, and only of processes of the same user."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

STEP: Final = 64 * 2**20
NOT_DATA: Final = frozenset({"[vvar]", "[vsyscall]", "[vdso]", "[vvar_vclock]"})
ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-32-le")
"""How CPython and everything else here keeps text: one, two or four bytes for a letter."""


def copies(process: int, texts: Iterable[str]) -> Counter[str]:
    """How often each text lies in the private readable memory of a process; those that lie nowhere are left out."""
    needles = {text.encode(encoding): text for text in texts for encoding in ENCODINGS}
    pattern = re.compile(b"|".join(re.escape(needle) for needle in needles))
    longest = max(map(len, needles))
    found: Counter[str] = Counter()
    for block in _blocks(process, longest):
        found.update(needles[match.group()] for match in pattern.finditer(block))
    return found


def family(process: int) -> list[int]:
    """A process and those that it started, directly or not."""
    own = psutil.Process(process)
    return [process, *(child.pid for child in own.children(recursive=True))]


def _blocks(process: int, overlap: int) -> Iterator[bytes]:
    """The memory in pieces, each with the end of the one before, in which nothing can hide."""
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for start, end in list(_regions(process)):
            rest = b""
            for at in range(start, end, STEP):
                with suppress(OSError):  # given back meanwhile
                    memory.seek(at)
                    read = memory.read(min(STEP, end - at))
                    yield rest + read
                    rest = read[-(overlap - 1) :]


def _regions(process: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        span, mode, *others = line.split(maxsplit=5)
        name = others[3] if len(others) > 3 else ""
        if mode[0] == "r" and mode[3] == "p" and name not in NOT_DATA:
            start, _, end = span.partition("-")
            yield int(start, 16), int(end, 16)
