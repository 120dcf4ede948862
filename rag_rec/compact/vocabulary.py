"""The tokens of the compact generator: specials, attribute values, items, and spare rows for items to come.

Token ids are dense and in that order, so that a new item takes the first spare row and no other token moves. A value
becomes a token only where many share it: no token stands for one person or one item's private detail.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import orjson

from rag_rec.artifacts.private import write_durably
from rag_rec.domain import Attributes, AttributeValue, Item, User
from rag_rec.errors import CorruptIndex, InvalidInput

FILE: Final = "vocabulary.json"
SPECIALS: Final = ("<bos>", "<pad>", "<answer>", "<unknown>")
BOS, PAD, ANSWER, UNKNOWN = range(len(SPECIALS))
MOST_TOKENS: Final = 258_048
"""The largest vocabulary for which vLLM serves LoRA on the output head."""
LEAST_SHARED: Final = 20
"""How many items, or users, have to share an attribute value before it becomes a token."""
LEAST_SPARE: Final = 64
SPARE_SHARE: Final = 0.1


@dataclass(frozen=True)
class Vocabulary:
    """All tokens by id.

    Attributes:
        item_attributes: ``name=value`` that items share, sorted; a provider is ``provider=value``.
        user_attributes: ``name=value`` that users share, sorted.
        items: item ids in the order of their tokens.
        spare: rows left for new items.
    """

    item_attributes: tuple[str, ...]
    user_attributes: tuple[str, ...]
    items: tuple[str, ...]
    spare: int

    @classmethod
    def of(
        cls, items: Sequence[Item], users: Iterable[User] = (), least: int = LEAST_SHARED, spare: int | None = None
    ) -> Self:
        """The vocabulary of a catalogue.

        Args:
            items: all items; tokens follow their order.
            users: whose attribute values may become tokens; nothing else of them is read.
            least: how many must share a value.
            spare: rows for new items; a tenth of the items and at least 64 if not given.

        Raises:
            InvalidInput: too many items, or an item id twice.
        """
        rows = max(LEAST_SPARE, math.ceil(SPARE_SHARE * len(items))) if spare is None else spare
        shared_by_items = _shared((item_pairs(item) for item in items), least)
        shared_by_users = _shared((attribute_pairs(user.attributes) for user in users), least)
        vocabulary = cls(shared_by_items, shared_by_users, tuple(item.id for item in items), rows)
        if len(vocabulary) > MOST_TOKENS:
            raise InvalidInput(f"The compact generator takes at most {MOST_TOKENS} tokens: use a served LLM instead.")
        if len(vocabulary._by_item) < len(items):
            raise InvalidInput("An item id occurs twice: item ids have to be unique.")
        return vocabulary

    def __len__(self) -> int:
        """Rows of the embedding, spare ones included."""
        return self.first_spare + self.spare

    @property
    def first_item(self) -> int:
        """Token id of the first item."""
        return len(SPECIALS) + len(self.item_attributes) + len(self.user_attributes)

    @property
    def first_spare(self) -> int:
        """Token id of the first spare row."""
        return self.first_item + len(self.items)

    def token_of_item(self, item_id: str) -> int | None:
        """Token id of an item; None for an item that has no token yet."""
        return self._by_item.get(item_id)

    def tokens_of_item_attributes(self, item: Item) -> tuple[int, ...]:
        """Token ids of an item's attributes and provider, ascending, those that have tokens."""
        return _found(self._by_item_attribute, item_pairs(item))

    def tokens_of_user(self, user: User) -> tuple[int, ...]:
        """Token ids of a user's attributes, ascending, those that have tokens."""
        return _found(self._by_user_attribute, attribute_pairs(user.attributes))

    def names(self) -> list[str]:
        """What each token is called, by id: printable, without white space, and distinct."""
        return [
            *SPECIALS,
            *(f"<item-has:{quote(pair, safe='=')}>" for pair in self.item_attributes),
            *(f"<user-has:{quote(pair, safe='=')}>" for pair in self.user_attributes),
            *(f"<item:{quote(item_id, safe='')}>" for item_id in self.items),
            *(f"<spare:{token}>" for token in range(self.first_spare, len(self))),
        ]

    def attribute_texts(self) -> list[str]:
        """What each attribute token means, as a text to embed, in the order of the tokens."""
        return [pair.replace("=", " ", 1) for pair in (*self.item_attributes, *self.user_attributes)]

    def extended(self, item_ids: Sequence[str]) -> Vocabulary:
        """The same size, with new items in the next spare rows.

        Raises:
            InvalidInput: an item has a token already, or there are not enough spare rows.
        """
        if len(set(item_ids)) < len(item_ids) or any(item_id in self._by_item for item_id in item_ids):
            raise InvalidInput("An item has a token already: extend by new items only, each once.")
        if len(item_ids) > self.spare:
            raise InvalidInput(
                f"{len(item_ids)} new items need tokens and {self.spare} spare rows are left: "
                "run `rag-rec compact build`, which makes room for more."
            )
        return replace(self, items=(*self.items, *item_ids), spare=self.spare - len(item_ids))

    def save(self, folder: Path) -> None:
        """Write into a folder, durably."""
        fields = {
            "item_attributes": self.item_attributes,
            "user_attributes": self.user_attributes,
            "items": self.items,
            "spare": self.spare,
        }
        write_durably(folder / FILE, orjson.dumps(fields))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back. Raises ``CorruptIndex``."""
        try:
            fields = orjson.loads((folder / FILE).read_bytes())
            return cls(
                _texts(fields["item_attributes"]),
                _texts(fields["user_attributes"]),
                _texts(fields["items"]),
                int(fields["spare"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            raise CorruptIndex(
                "The vocabulary of the compact generator cannot be read: run `rag-rec compact build`."
            ) from None

    @cached_property
    def _by_item(self) -> dict[str, int]:
        return {item_id: token for token, item_id in enumerate(self.items, self.first_item)}

    @cached_property
    def _by_item_attribute(self) -> dict[str, int]:
        return {pair: token for token, pair in enumerate(self.item_attributes, len(SPECIALS))}

    @cached_property
    def _by_user_attribute(self) -> dict[str, int]:
        first = len(SPECIALS) + len(self.item_attributes)
        return {pair: token for token, pair in enumerate(self.user_attributes, first)}


def item_pairs(item: Item) -> set[str]:
    """``name=value`` of an item's attributes and provider."""
    pairs = attribute_pairs(item.attributes)
    return pairs if item.provider is None else pairs | {f"provider={item.provider}"}


def attribute_pairs(attributes: Attributes) -> set[str]:
    """``name=value`` of attributes; one for each value of a list."""
    return {f"{name}={_written(value)}" for name, values in attributes.items() for value in _each(values)}


def _each(values: AttributeValue) -> tuple[AttributeValue, ...]:
    return values if isinstance(values, tuple) else (values,)


def _written(value: AttributeValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shared(rows: Iterable[set[str]], least: int) -> tuple[str, ...]:
    counts = Counter(pair for row in rows for pair in row)
    return tuple(sorted(pair for pair, count in counts.items() if count >= least))


def _found(tokens: Mapping[str, int], pairs: set[str]) -> tuple[int, ...]:
    return tuple(sorted(tokens[pair] for pair in pairs if pair in tokens))


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
