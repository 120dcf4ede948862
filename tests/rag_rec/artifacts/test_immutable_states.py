"""The shared store of immutable folders against the obvious model, over random sequences that end anywhere.

What the model holds is a dictionary and the name in use. A crash stops at one file operation, of any kind, and lets
nothing happen after that, as the end of a process does; then everything is opened anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.digests import FileDigest, content_digest, digest_files
from rag_rec.artifacts.immutable import Folders, Publication, surplus
from rag_rec.artifacts.manifest import Kind, write_manifest
from rag_rec.errors import CorruptIndex

OPERATIONS = ("fsync", "link", "mkdir", "pwrite", "rename", "replace", "rmdir", "unlink")
steps = st.none() | st.integers(1, 12)
"""At which file operation the process ends; None: it does not."""


@dataclass(frozen=True, slots=True)
class Note:
    """The manifest of the folders here."""

    turn: int
    files: Mapping[str, FileDigest]
    format: int = 1


KIND = Kind(Note, 1, "Folder", "make it again")


class Killed(BaseException):
    """The process has ended."""


@contextmanager
def ended_at(step: int | None) -> Iterator[None]:
    """End at a file operation, counted from one; those after it do not happen either."""
    done = 0

    def stopping(original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            if step is not None and done >= step:
                raise Killed
            return original(*arguments, **named)

        return called

    with ExitStack() as replaced:
        for name in OPERATIONS:
            replaced.enter_context(patch.object(os, name, stopping(getattr(os, name))))
        yield


class FoldersMachine(RuleBasedStateMachine):
    """Folders that are named by time, as the generations of the index, and lose their name before they go."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.held: dict[str, bytes] = {}
        self.used: str | None = None
        self.turn = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @property
    def folders(self) -> Folders:
        """Opened anew each time."""
        return Folders(self.root / "kept")

    @property
    def publication(self) -> Publication:
        """Opened anew each time."""
        return Publication(self.root, "a folder")

    @rule(content=st.sampled_from([b"a", b"bc", b"def"]), step=steps)
    def publish(self, content: bytes, step: int | None) -> None:
        self.turn += 1
        name = self.name_of(content)
        after = {**self.held, name: content}
        with self.changing(after, self.used, step), self.publication.writing(), self.folders.aside() as aside:
            (aside / "deep").mkdir()
            (aside / "deep" / "content").write_bytes(content)
            write_manifest(aside, Note(self.turn, digest_files(aside)))
            self.put(aside, name)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), step=steps)
    def point(self, data: st.DataObject, step: int | None) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        with self.changing(self.held, name, step), self.publication.writing():
            self.publication.point_to(name.encode())

    @rule(keep=st.integers(0, 3), step=steps)
    def prune(self, keep: int, step: int | None) -> None:
        names = self.by_age()
        kept = [name for name in names if name == self.used]
        kept += [name for name in reversed(names) if name != self.used][: max(0, keep - len(kept))]
        gone = [(self.root / "kept" / name / "deep" / "content").open("rb") for name in names if name not in kept]
        try:
            after = {name: self.held[name] for name in kept}
            with self.changing(after, self.used, step), self.publication.writing():
                for name in surplus(names, keep, self.used):
                    self.remove(name)
            assert step is not None or not any(byte for stream in gone for byte in stream.read())
        finally:
            for stream in gone:
                stream.close()

    @rule()
    def sweep(self) -> None:
        with self.publication.writing():
            for folder in self.folders.building():
                destroy(folder)
        assert self.folders.building() == []

    @invariant()
    def what_is_in_use_is_there(self) -> None:
        pointer = self.publication.pointer()
        assert (None if pointer is None else pointer.decode()) == self.used
        assert self.used is None or self.used in self.held

    @invariant()
    def all_that_is_published_is_whole(self) -> None:
        assert self.contents() == self.held

    def name_of(self, _: bytes) -> str:
        return f"{self.turn:06}"

    def by_age(self) -> list[str]:
        return self.folders.names()

    def put(self, aside: Path, name: str) -> None:
        self.folders.publish(aside, name)

    def remove(self, name: str) -> None:
        self.folders.destroy(name)

    def contents(self) -> dict[str, bytes]:
        """What every published folder holds, each checked."""
        held = {}
        for name in self.folders.names():
            folder = self.folders.root / name
            KIND.verify(folder, KIND.read(folder).files)
            held[name] = (folder / "deep" / "content").read_bytes()
        return held

    @contextmanager
    def changing(self, after: dict[str, bytes], used: str | None, step: int | None) -> Iterator[None]:
        """Around a change. Where it ends halfway, each folder, and the pointer, is as before or as after."""
        before, used_before = self.held, self.used
        whole = False
        try:
            with ended_at(step):
                yield
                whole = True
        except Killed:
            pass
        pointer = self.publication.pointer()
        self.used, self.held = None if pointer is None else pointer.decode(), self.contents()
        if whole:
            assert (self.used, self.held) == (used, after)
        assert self.used in {used, used_before}
        assert (before.keys() & after.keys()) <= self.held.keys() <= (before.keys() | after.keys())
        assert all(content == (before | after)[name] for name, content in self.held.items())


class DigestNamedMachine(FoldersMachine):
    """Folders that are named by their content, as adapters, and are overwritten in place: a crash leaves a damaged one,
    which is found out and replaced."""

    def name_of(self, content: bytes) -> str:
        digest = FileDigest(len(content), hashlib.sha256(content).hexdigest())
        return content_digest({"deep/content": digest})

    def by_age(self) -> list[str]:
        return sorted(self.held, key=lambda name: KIND.read(self.folders.root / name).turn)

    def put(self, aside: Path, name: str) -> None:
        self.folders.publish_content(aside, name)

    def remove(self, name: str) -> None:
        destroy(self.folders.root / name)

    def contents(self) -> dict[str, bytes]:
        """What every folder holds that is whole. One that is not stays, until the same content is published again."""
        held = {}
        for name in self.folders.names():
            folder = self.folders.root / name
            try:
                KIND.verify(folder, KIND.read(folder).files)
                held[name] = (folder / "deep" / "content").read_bytes()
            except CorruptIndex:
                assert name != self.used
            else:
                assert content_digest(digest_files(folder)) == name
        return held


TestFolders = FoldersMachine.TestCase
TestFolders.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestDigestNamed = DigestNamedMachine.TestCase
TestDigestNamed.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
