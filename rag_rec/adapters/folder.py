"""The compact generator on disk: immutable folders named by their digest, and the pointer to those in use.

A *base* holds no person. An *adapter* holds what the model learned from people, and fits every base of its lineage: the
base that it was trained on, and those that descend from it by new items only. Folders are written aside, renamed, and
never changed; readers that hold an older one may go on using it until it is pruned.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from rag_rec.adapters.checkpoint import Checkpoints, from_before
from rag_rec.adapters.published import KIND, CompactFolder, CompactManifest, by_age, opened, readable
from rag_rec.artifacts.destruction import destroy
from rag_rec.artifacts.digests import content_digest, digest_files
from rag_rec.artifacts.immutable import POINTER, Folders, Publication, surplus
from rag_rec.artifacts.manifest import write_manifest
from rag_rec.errors import InvalidInput, NotReady

Write = Callable[[Path], None]
"""Writes all files of a base or an adapter, except the manifest, into an empty folder. Equal inputs must give equal
bytes, or equal content gets different digests: sort whatever comes from a set."""


@dataclass(frozen=True, slots=True)
class InUse:
    """Digests of the base and the adapter in use; without an adapter the base answers alone."""

    base: str
    adapter: str | None = None


class AdapterStore(Publication):
    """All bases and adapters under one folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "a compact generator")
        self.bases = root / "bases"
        self.adapters = root / "adapters"
        self.training = root / "training"
        self.auditing = root / "auditing"
        self._bases = Folders(self.bases)
        self._adapters = Folders(self.adapters)

    def current(self) -> InUse | None:
        """What is in use; None where there is no compact generator. Raises ``CorruptIndex``."""
        try:
            content = self.pointer()
            if content is None:
                return None
            fields = orjson.loads(content)
            return InUse(str(fields["base"]), None if fields["adapter"] is None else str(fields["adapter"]))
        except (OSError, ValueError, TypeError, KeyError):
            raise KIND.damaged("in use", f"{POINTER} cannot be read") from None

    def open_current(self) -> tuple[CompactFolder, CompactFolder | None]:
        """The base and the adapter in use, every file checked.

        Raises:
            NotReady: there is none.
            CorruptIndex: it is gone, or a file is missing or does not match its digest.
        """
        used = self.current()
        if used is None:
            raise NotReady("There is no compact generator yet: run `rag-rec compact build`.")
        try:
            return self.open_base(used.base), None if used.adapter is None else self.open_adapter(used.adapter)
        except InvalidInput:
            raise KIND.damaged("in use", "its folder is gone") from None

    def open_base(self, digest: str) -> CompactFolder:
        """A base by digest, every file checked. Raises ``InvalidInput`` and ``CorruptIndex``."""
        return opened(self._bases, digest)

    def open_adapter(self, digest: str) -> CompactFolder:
        """An adapter by digest, every file checked. Raises ``InvalidInput`` and ``CorruptIndex``."""
        return opened(self._adapters, digest)

    def base_digests(self) -> list[str]:
        """Digests of all published bases, oldest first."""
        return by_age(self._bases)

    def adapter_digests(self) -> list[str]:
        """Digests of all published adapters, oldest first."""
        return by_age(self._adapters)

    def epoch_of_adapter(self, digest: str) -> int:
        """The change of the store up to which an adapter's people were read; -1 where that cannot be told any more."""
        manifest = readable(self.adapters / digest)
        return manifest.epoch if manifest else -1

    def unfinished_adapters(self) -> list[Path]:
        """Folders of adapters that are being written, or whose writing was cut short."""
        return self._adapters.building()

    def publish_base(
        self,
        write: Write,
        *,
        epoch: int,
        settings: Mapping[str, Any],
        counts: Mapping[str, int],
        parent: str | None = None,
    ) -> CompactFolder:
        """Write a base and give it its name; it is not put to use by that. The same content again changes nothing.

        Args:
            write: writes the files into an empty folder.
            epoch: see :class:`CompactManifest`; so are the others.
            settings: plain JSON values.
            counts: numbers to show.
            parent: the base that it was extended from, whose lineage it keeps.
        """
        lineage = None if parent is None else self.open_base(parent).manifest.lineage
        return self._publish(self._bases, write, lineage, parent, epoch, settings, counts)

    def publish_adapter(
        self, write: Write, *, base: str, epoch: int, settings: Mapping[str, Any], counts: Mapping[str, int]
    ) -> CompactFolder:
        """Write an adapter that was trained on ``base`` and give it its name; see :meth:`publish_base`."""
        lineage = self.open_base(base).manifest.lineage
        return self._publish(self._adapters, write, lineage, base, epoch, settings, counts)

    def set_current(self, base: str, adapter: str | None = None) -> None:
        """Put a base, and an adapter that fits it, to use: one atomic replacement of the pointer.

        Raises:
            InvalidInput: there is no such base or adapter, or the adapter was trained on another lineage.
            CorruptIndex: a file is missing or does not match its digest.
        """
        lineage = self.open_base(base).manifest.lineage
        if adapter is not None and self.open_adapter(adapter).manifest.lineage != lineage:
            raise InvalidInput("The adapter was trained on another base: run `rag-rec compact build`.")
        self.point_to(orjson.dumps({"base": base, "adapter": adapter}))

    def discard_training(self, before: int | None = None) -> None:
        """Overwrite and remove the checkpoints of unfinished trainings, those of an audit too: they hold what was
        learned from people.

        Args:
            before: leave those alone whose people were read at this change of the store or later; None leaves none.
        """
        if self.root.is_dir():
            with self.writing():
                for folder in (self.training, self.auditing):
                    Checkpoints(folder, "").clear(before)

    def training_from_before(self, epoch: int) -> list[Path]:
        """Checkpoints of people who were read before an epoch, and other files there of unknown age."""
        folders = [folder for folder in (self.training, self.auditing) if folder.is_dir()]
        if not folders:
            return []
        with self.writing():  # one that is just being written cannot be read
            return [path for folder in folders for path in from_before(folder, epoch)]

    def prune(self, keep: int = 2, outdated: Callable[[int], bool] = lambda _: False) -> list[str]:
        """Remove all but the newest ``keep`` bases and adapters, never those in use; adapters are overwritten first.

        Adapters that no remaining base fits go too, and so do unfinished folders.

        Args:
            keep: how many stay.
            outdated: whether a person was forgotten after an epoch. Adapters from before that go, however new.

        Returns:
            The digests of those gone.
        """
        used = self.current() or InUse("")
        with self.writing():
            bases = surplus(self.base_digests(), keep, used.base)
            kept = [readable(self.bases / name) for name in self.base_digests() if name not in bases]
            lineages = {base.lineage for base in kept if base}
            names = self.adapter_digests()
            others = {name: readable(self.adapters / name) for name in names if name != used.adapter}
            unfit = {name for name, of in others.items() if not of or of.lineage not in lineages or outdated(of.epoch)}
            too_many = surplus(names, keep, used.adapter)
            adapters = [name for name in names if name in unfit or name in too_many]
            for folder in (*(self.adapters / name for name in adapters), *self.unfinished_adapters()):
                destroy(folder)
            for folder in (*(self.bases / name for name in bases), *self._bases.building()):
                shutil.rmtree(folder)  # Nothing personal, and a process that maps the weights may go on doing so.
        return [*adapters, *bases]

    def _publish(  # noqa: PLR0913 - what goes into a manifest
        self,
        kind: Folders,
        write: Write,
        lineage: str | None,
        parent: str | None,
        epoch: int,
        settings: Mapping[str, Any],
        counts: Mapping[str, int],
    ) -> CompactFolder:
        with self.writing(), kind.aside() as aside:
            write(aside)
            files = digest_files(aside)
            digest = content_digest(files)
            manifest = CompactManifest(
                digest, lineage or digest, parent, _now(), epoch, dict(settings), dict(counts), files
            )
            write_manifest(aside, manifest)
            return CompactFolder(kind.publish_content(aside, digest), manifest)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
