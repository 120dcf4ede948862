"""Reads the people whom an adapter learns from: what they liked, and the profile that a prompt would show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from rag_rec.compact.sequences import Tokens, TokenSequence, hold_out, share_to_ask
from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.domain import User
from rag_rec.evaluation.held_out import is_held_out, place_of
from rag_rec.events.history import PositiveRule
from rag_rec.store.protocol import Store

RESERVE: Final = "reserve"
"""The purpose of the sample of people from whom nothing is learned."""
SHARDS: Final = "shards"
"""The purpose of the division of people who are learned apart."""


@dataclass(frozen=True, slots=True)
class People:
    """Everybody who has liked something.

    Attributes:
        epoch: the change of the store up to which they are complete.
        positives: user numbers, and the numbers of the items that they liked, int64 [n], oldest first.
        users: their profiles by user number.
        newest: number of the newest interaction that was read, -1 if there is none. Numbers only ever grow.
        reserve: people from whom nothing is learned, written as ``positives``; see :meth:`apart`.
    """

    epoch: int
    positives: Sequence[tuple[int, Tokens]]
    users: Mapping[int, User]
    newest: int = -1
    reserve: Sequence[tuple[int, Tokens]] = ()

    @classmethod
    def read(cls, store: Store, rule: PositiveRule, items: int, newest: int | None = None) -> Self:
        """Everybody in the store.

        Args:
            store: where they are.
            rule: which interactions count as liking.
            items: only items numbered below this.
            newest: only interactions up to this number, as an earlier reading found them; None for all.
        """
        epoch, events = store.epoch(), store.events()
        positives, last = [], -1
        for user, whole in store.histories():
            history = whole if newest is None else whole[whole["interaction"] <= newest]
            last = max(last, int(history["interaction"].max(initial=-1)))
            liked = rule.positives(history, events)["item"].astype(np.int64)
            liked = liked[liked < items]
            if len(liked):
                positives.append((user, liked))
        return cls(epoch, positives, _profiles(store, (user for user, _ in positives)), last)

    def apart(self, share: float, seed: int) -> Self:
        """The same with a sample of the people in the reserve, from whom nothing is learned.

        A person is in the sample by a hash of the id, so that forgetting one person moves no other.
        """
        chosen = {number for number, _ in self.positives if is_held_out(self._user(number).id, share, seed, RESERVE)}
        reserve = [each for each in self.positives if each[0] in chosen]
        return replace(self, positives=[each for each in self.positives if each[0] not in chosen], reserve=reserve)

    def among(self, place: int, shards: int, seed: int) -> Self:
        """The same with those of the people alone who are in one of so many shards.

        A person's shard goes by a hash of the id, so that forgetting one person moves no other.
        """
        inside = [each for each in self.positives if place_of(self._user(each[0]).id, shards, seed, SHARDS) == place]
        return replace(self, positives=inside)

    @property
    def interactions(self) -> int:
        """Positive interactions of all people."""
        return sum(len(items) for _, items in self.positives)

    @property
    def share_to_ask(self) -> float:
        """Share of the people to hold out for the gate."""
        return share_to_ask([len(items) for _, items in self.positives])

    def held_out(self, share: float, seed: int) -> int:
        """How many people's newest item is held out of the training."""
        return self.interactions - sum(len(items) for _, items in self._learned(share, seed))

    def sequences(self, vocabulary: Vocabulary, held_out: float, seed: int) -> list[TokenSequence]:
        """What the model learns from, written as the encoder of its prompts writes them.

        Args:
            vocabulary: its items are numbered as the store's.
            held_out: share of the people whose newest item is left out, see
                :func:`rag_rec.compact.sequences.is_held_out`.
            seed: of that sample.
        """
        return [self._written(vocabulary, number, items) for number, items in self._learned(held_out, seed)]

    def reserved(self, vocabulary: Vocabulary) -> list[TokenSequence]:
        """The people of the reserve, written as those of :meth:`sequences`, whole."""
        return [self._written(vocabulary, number, items) for number, items in self.reserve]

    def lineage(self, held_out: float, seed: int, *, reserve: bool = False) -> dict[int, int]:
        """How many positive interactions of each user an adapter depends on.

        Args:
            held_out: as for :meth:`sequences`, and so is ``seed``.
            seed: of that sample.
            reserve: whether it depends on the reserve as well: shards are added up as suits these people best.
        """
        chosen = self.reserve if reserve else ()
        return {number: len(items) for number, items in (*self._learned(held_out, seed), *chosen)}

    def _learned(self, held_out: float, seed: int) -> Iterator[tuple[int, Tokens]]:
        histories = ((self._user(number).id, items) for number, items in self.positives)
        learned, _ = hold_out(histories, held_out, seed)
        for (number, _), (_, items) in zip(self.positives, learned, strict=True):
            yield number, items

    def _written(self, vocabulary: Vocabulary, number: int, items: Tokens) -> TokenSequence:
        return TokenSequence(_prefix(vocabulary, self._user(number)), vocabulary.first_item + items)

    def _user(self, number: int) -> User:
        return self.users.get(number, User(""))


def _profiles(store: Store, numbers: Iterable[int]) -> dict[int, User]:
    found = ((number, store.user_by_number(number)) for number in numbers)
    return {number: user for number, user in found if user is not None}


def _prefix(vocabulary: Vocabulary, user: User) -> Tokens:
    return np.array([BOS, *vocabulary.tokens_of_user(user)], dtype=np.int64)
