"""The state in memory that answers requests: an index generation brought up to the store's epoch.

Everything about one user is brought up to date by one function, :meth:`ServingState._sync_user`: it reads the user's
present history from the store, takes the old one out of every structure and puts the new one in. An event, a partial
forget and a whole one are that same operation; it can be repeated without harm, and the order in which users are
treated does not matter.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.model import CandidateModel
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.statistics import Statistics
from rag_rec.errors import CorruptIndex, NotReady
from rag_rec.events.history import History, empty_history, overwrite
from rag_rec.index.generation import Generation
from rag_rec.index.item_space import ItemSpace
from rag_rec.index.people import People
from rag_rec.index.shards import read_people
from rag_rec.index.signed import check_generation
from rag_rec.progress.protocol import SILENT, Progress
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import ChangeKind
from rag_rec.vectors.protocol import Embedder

MANY = 100
MANY_SHARE = 0.2
"""From this many changed users on, and this share of all users, the statistics are built afresh: it takes less time."""


class ServingState:
    """Items, people and statistics at one epoch. One thread at a time brings them forward; any number may read."""

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        generation: Generation,
        store: Store,
        settings: Settings,
        embedder: Embedder,
        items: ItemSpace,
        people: People,
        reranker: Reranker,
    ) -> None:
        self.generation = generation
        self.epoch = generation.manifest.epoch
        self.erasures = 0
        self._nonce = secrets.token_hex(8)
        self.events: Sequence[str] = store.events()
        self.items = items
        self.people = people
        self.reranker = reranker
        self._store = store
        self._settings = settings
        self._embedder = embedder
        self._rule = settings.positive_rule
        self._writer = threading.RLock()
        self._positives: dict[int, History] = {}
        self._statistics: Statistics | None = None
        self._model: CandidateModel | None = None

    @classmethod
    def load(cls, generation: Generation, store: Store, settings: Settings, embedder: Embedder) -> Self:
        """Read a generation, replay the changes since its epoch, and build the statistics.

        Raises:
            CorruptIndex: the files are damaged or exchanged, or were made with another embedding model.
        """
        if generation.manifest.embedding != embedder.digest:
            raise CorruptIndex(
                f"Index generation {generation.id} was built with another embedding model: "
                "set the model it was built with, or run `rag-rec index rebuild`."
            )
        check_generation(generation, settings)
        items = ItemSpace.load(generation.folder / "items", store.items(), embedder)
        people = read_people(generation.folder, items.rows())
        reranker = Reranker.load(generation.folder / "reader", generation.fitted_in)
        live = cls(generation, store, settings, embedder, items, people, reranker)
        live.follow()
        live._build_statistics()
        return live

    @property
    def model(self) -> CandidateModel:
        """The candidate model over the present statistics."""
        if self._model is None:
            raise NotReady("The index is still being loaded; try again in a moment.")
        return self._model

    @property
    def statistics(self) -> Statistics:
        """What is known of people together."""
        return self.model.statistics

    @property
    def salt(self) -> str:
        """Separates what servers may cache of prompts: another one after every removal, in every process and state."""
        return f"{self._nonce}-{self.erasures}"

    def positives(self, history: History) -> History:
        """The positive rows of a history, each item once."""
        return self._rule.positives(history, self.events)

    def liked(self, history: History) -> npt.NDArray[np.bool_]:
        """Whether each row of a history is positive, bool [n]."""
        return self._rule.mask(history, self.events)

    def met(self, history: History) -> npt.NDArray[np.int32]:
        """Numbers of the items that are not to be proposed to the owner of a history, ascending."""
        return self._rule.met(history, self.events)

    def follow(self) -> None:
        """Bring everything up to the store's epoch by replaying its change log.

        Raises:
            NotReady: the change log does not go on from here, because the store was replaced by a backup.
        """
        with self._writer:
            epoch, changes = self._store.epoch(), self._store.changes(self.epoch)
            if (changes[0].epoch - 1 if changes else epoch) > self.epoch:  # the log itself has no gaps
                raise NotReady(
                    "The store was restored from a backup after this index was made: run `rag-rec index build`."
                )
            if not changes:
                return
            removal = any(change.kind is ChangeKind.FORGET for change in changes)
            self.erasures += removal  # and once more below: an answer that meets any moment in between sees a change
            self.events = self._store.events()
            self._sync_items(sorted({change.number for change in changes if change.kind is ChangeKind.ITEM}))
            self._sync_users(sorted({change.number for change in changes if change.kind is not ChangeKind.ITEM}))
            self.epoch = changes[-1].epoch
            self.erasures += removal

    def take_all(self, progress: Progress = SILENT) -> None:
        """Take everything about everybody from the store, and count it anew: nothing of it comes from files."""
        with self._writer:
            self.follow()
            begun, histories = self.epoch, list(self._store.histories())
            self.follow()  # the histories may name newer items
            progress.stage("build the twin: people", len(histories))
            for user, history in histories:
                self._take(user, history, None)
                progress.advance(1)
            progress.stage("build the twin: counts and P", 0)
            self.epoch = begun
            self.follow()  # who changed meanwhile is read again
            self._build_statistics()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still at the store's epoch: while this is held, nothing here changes, and an answer that would have to
        follow a change waits."""
        with self._writer:
            self.follow()
            yield

    def reach(self, user: int, interactions: Sequence[int]) -> dict[str, int]:
        """What would go, or be made anew, with these interactions of a user: counts by what a plan calls them."""
        gone, positives = set(interactions), self.positives(self.people.history(user))
        return {
            "profile_vectors": int(self.people.profile(user) is not None),
            "own_vectors": len(self.people.own_vectors(user).keys() & gone),
            "statistics": len(gone.intersection(positives["interaction"].tolist())),
        }

    def prepare(self, user: int, gone: Sequence[int] | None = None) -> None:
        """Compute ahead what a coming removal does to P, so that the :meth:`follow` after it takes no time.

        Args:
            user: who is about to be forgotten, in part or altogether.
            gone: the interactions that will go; None where the whole user goes.
        """
        if self._statistics is not None:
            with self._writer:
                old = self._neighbour(user).copy()  # the originals are overwritten when the user goes
                history = self.people.history(user)
                kept = empty_history() if gone is None else history[~np.isin(history["interaction"], gone)]
            self._statistics.prepare(old, self.positives(kept))

    def discard(self) -> None:
        """Free what was prepared for a removal that did not come."""
        if self._statistics is not None:
            self._statistics.discard()

    def holds(self, user: int) -> bool:
        """Whether anything of a user number is in memory: history, vectors, profile, or counted positives."""
        return self.people.holds(user) or user in self._positives

    def agrees(self, user: int) -> bool:
        """Whether memory has of a user exactly what the store has at present, after following it."""
        with self.paused():
            history = self._store.history(user)
            counted = self._neighbour(user).tobytes() == self.positives(history).tobytes()
            return counted and self.people.agrees(user, history)

    def sound(self) -> bool:
        """Whether all parts of the state add up to the same people and positives, by their numbers of rows.

        Cheap: it takes no pass over vectors or matrices. A removal that was left out in any part does not pass.
        """
        with self._writer:
            lengths = np.fromiter(map(len, self._positives.values()), dtype=np.int64, count=len(self._positives))
            known = self.people.have_histories(self._positives.keys())
            return known and self.people.sound() and self.statistics.sound(lengths)

    def _sync_items(self, numbers: Sequence[int]) -> None:
        known = np.array([number for number in numbers if number < len(self.items)], dtype=np.int64)
        before = self.items.vectors()[known]
        for number, item in zip(numbers, self._store.items_by_number(numbers), strict=True):
            self.items.put(number, item)
        self._renew_profiles(known[(self.items.vectors()[known] != before).any(axis=1)])
        if self._statistics is not None and numbers:
            self._statistics.grow(len(self.items))

    def _renew_profiles(self, items: npt.NDArray[np.int64]) -> None:
        """Make the profiles of those who met these items anew, because the items' texts have changed."""
        for user, history in self.people.histories() if len(items) else ():
            if np.isin(history["item"], items).any():
                self.people.put(user, history, self.liked(history), self.people.own_vectors(user))

    def _sync_users(self, users: Sequence[int]) -> None:
        afresh = len(users) >= max(MANY, MANY_SHARE * len(self.people))
        for user in users:
            self._sync_user(user, None if afresh else self._statistics)
        if self._statistics is not None:
            if afresh:
                self._build_statistics()
            self._statistics.settle()

    def _sync_user(self, user: int, statistics: Statistics | None) -> None:
        """Make everything about one user what the store says at present; nothing at all if it has nothing."""
        self._take(user, self._store.history(user), statistics)

    def _take(self, user: int, new: History, statistics: Statistics | None) -> None:
        """Put a user's present history in the place of what is held of them."""
        self._meet(new)
        positives, own = self.positives(new), self._own_vectors(user, new)
        if statistics is not None:
            statistics.replace(self._neighbour(user), positives)
        self._remember(user, positives)  # at once: what was counted must be what a later call takes out again
        self.people.put(user, new, self.liked(new), own)

    def _meet(self, history: History) -> None:
        """Take up items and event types that the store got after the changes that are being followed were read."""
        newest = int(history["item"].max(initial=-1))
        if newest >= len(self.items):
            self._sync_items(range(len(self.items), newest + 1))
        if history["event"].max(initial=-1) >= len(self.events):
            self.events = self._store.events()

    def _remember(self, user: int, positives: History) -> None:
        """Keep the positives that the statistics have counted; what is given up is overwritten."""
        old = self._positives.pop(user, None)
        if old is not None and not np.isin(old["interaction"], positives["interaction"]).all():
            overwrite(old)
        if len(positives):
            self._positives[user] = positives

    def _own_vectors(self, user: int, history: History) -> dict[int, npt.NDArray[np.float32]]:
        """Vectors of the interactions with a text of their own: those held already, and the new ones embedded."""
        wanted = [int(number) for number in history["interaction"][history["own_text"]]]
        held = self.people.own_vectors(user)
        missing = [number for number in wanted if number not in held]
        if missing:
            stored = self._store.interactions(user, missing)
            vectors = self._embedder.embed([row.interaction.text or "" for row in stored])
            held |= {row.number: vector for row, vector in zip(stored, vectors, strict=True)}
        return {number: held[number] for number in wanted if number in held}

    def _build_statistics(self) -> None:
        for user, history in self.people.histories():
            self._remember(user, self.positives(history))
        count = len(self.items)
        statistics = Statistics.build(self._positives.items(), count, dense=count <= self._settings.dense_items_limit)
        self._model = CandidateModel(
            statistics, self.items.vectors, self.people.profiles, self._neighbour, self.reranker
        )
        self._statistics = statistics

    def _neighbour(self, user: int) -> History:
        """The positives of a user that the statistics have counted."""
        return self._positives.get(user, empty_history())
