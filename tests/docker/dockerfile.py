"""Reads Dockerfiles: instructions by stage, comments and line continuations resolved. Exec forms become lists."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One ``FROM`` and what follows it."""

    image: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [value for name, value in self.instructions if name == keyword]

    def last(self, keyword: str) -> str:
        return self.all(keyword)[-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (pair.partition("=") for value in self.all("ENV") for pair in shlex.split(value))
        return {name: value for name, _, value in pairs}


def read_stages(path: Path) -> list[Stage]:
    stages: list[Stage] = []
    for line in logical_lines(path.read_text()):
        keyword, _, value = line.partition(" ")
        if keyword.upper() == "FROM":
            image, _, name = value.partition(" AS ")
            stages.append(Stage(image.strip(), name.strip() or None))
        else:
            stages[-1].instructions.append((keyword.upper(), value.strip()))
    return stages


def logical_lines(text: str) -> list[str]:
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(kept).replace("\\\n", " ")
    return [" ".join(line.split()) if "[" not in line else line.strip() for line in joined.splitlines()]


def exec_form(value: str) -> list[str]:
    words = json.loads(value[value.index("[") :])
    assert all(isinstance(word, str) for word in words)
    return list(words)
