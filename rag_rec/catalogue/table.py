"""The items in memory, by number."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from rag_rec.catalogue.columns import AttributeTable, CodeColumn, Mask, Vector
from rag_rec.domain import Attributes, Item
from rag_rec.errors import InvalidInput, UnknownItem

_versions = itertools.count(1)


class Catalogue:
    """All items in memory, in columns: id, text, provider, token count, attributes.

    An item's number is its row. Every change gives the catalogue a ``version`` that no catalogue of this process had
    before, so that whatever is computed from it can be kept by that number. One thread may write while others read: a
    new item appears when all of its columns are filled; a reader may meet an old one while its attributes are being
    replaced.
    """

    def __init__(self) -> None:
        self.attributes = AttributeTable()
        self.providers = CodeColumn()
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._numbers: dict[str, int] = {}
        self._tokens = Vector(np.int32, 0)
        self._version = next(_versions)

    @classmethod
    def of(cls, items: Iterable[Item], tokens: Iterable[int]) -> Catalogue:
        """A catalogue of these items, numbered in this order, with the token count of each one's text."""
        catalogue = cls()
        for number, (item, count) in enumerate(zip(items, tokens, strict=True)):
            catalogue.put(number, item, count)
        return catalogue

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def version(self) -> int:
        """Changes whenever an item is put."""
        return self._version

    @property
    def ids(self) -> list[str]:
        """Ids by number; not to be changed."""
        return self._ids

    @property
    def texts(self) -> list[str]:
        """Texts by number; not to be changed."""
        return self._texts

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """Token counts of the texts by number, int32 [n]; not to be changed."""
        return np.asarray(self._tokens.first(len(self)), dtype=np.int32)

    def put(self, number: int, item: Item, tokens: int) -> None:
        """Replace the item with this number, or append it as the next one.

        Raises ``InvalidInput``, and changes nothing, if the number would leave a gap or the id has another number.
        """
        if not 0 <= number <= len(self):
            raise InvalidInput(f"Items are numbered without gaps: the next number is {len(self)}, not {number}.")
        if self._numbers.get(item.id, number) != number:
            raise InvalidInput("Another number already has this item id: item ids have to be unique.")
        self.attributes.put(number, item.attributes)
        self._set_provider(number, item.provider)
        self._tokens[number] = tokens
        self._set_text(number, item)
        self._version = next(_versions)

    def number_of(self, item_id: str) -> int | None:
        """The number of the item with this id, None if there is none."""
        return self._numbers.get(item_id)

    def numbers_of(self, item_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Numbers of several items, int64 [m]. Raises ``UnknownItem``."""
        try:
            return np.array([self._numbers[item_id] for item_id in item_ids], dtype=np.int64)
        except KeyError:
            raise UnknownItem("An item is not in the catalogue: add it first, or check its id.") from None

    def item(self, number: int) -> Item:
        """The item with this number, put together again."""
        return Item(self._ids[number], self._texts[number], self.attributes_of(number), self.provider_of(number))

    def attributes_of(self, number: int) -> Attributes:
        """The attributes of the item with this number."""
        return self.attributes.row(number)

    def provider_of(self, number: int) -> str | None:
        """The provider of the item with this number."""
        provider = self.providers.get(number)
        return None if provider is None else str(provider)

    def with_text(self, folded: str, rows: int) -> Mask:
        """Which of the first ``rows`` texts contain this case-folded string, bool [rows]."""
        texts = self._texts[:rows]
        return np.fromiter((folded in text.casefold() for text in texts), dtype=np.bool_, count=len(texts))

    def _set_provider(self, number: int, provider: str | None) -> None:
        if provider is None:
            self.providers.clear(number)
        else:
            self.providers.set(number, provider)

    def _set_text(self, number: int, item: Item) -> None:
        if number == len(self):
            self._ids.append(item.id)
            self._texts.append(item.text)
        else:
            del self._numbers[self._ids[number]]
            self._ids[number], self._texts[number] = item.id, item.text
        self._numbers[item.id] = number
