"""Makes untrusted text harmless inside a prompt: titles, attributes, event names and what users wrote.

Text of a catalogue can be written by anyone. After cleaning it is one line, holds nothing that a reader cannot see,
and cannot be mistaken for the marks that structure a prompt: the special tokens of a chat template, and the numbers in
square brackets by which an explanation cites. What remains are words, and words can at most move probability from one
label to another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_BRACKETS = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")"})
"""Chat templates mark their parts with angle or square brackets; both are replaced by others that read alike."""

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_INVISIBLE = frozenset(
    map(
        chr,
        (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)),
    )
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
"""Fillers and variation selectors: invisible too, but in the categories of letters and marks."""


class Cleaner:
    """Cleans text for one tokenizer. Cleaning what is clean changes nothing.

    Args:
        special: spellings of the tokenizer's special tokens; whatever of them the brackets leave is blanked out.
    """

    def __init__(self, special: Collection[str] = ()) -> None:
        marks = {unicodedata.normalize("NFKC", token).translate(_BRACKETS).strip() for token in special} | set(special)
        known = sorted((mark for mark in marks if mark.strip()), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, known))) if known else None

    def clean(self, text: str) -> str:
        """The text as one line: NFKC, without what is invisible, brackets replaced, white space collapsed."""
        if not (text.isascii() and text.isprintable()):
            text = visible(unicodedata.normalize("NFKC", visible(text)))
        text = self._without_special(text.translate(_BRACKETS))
        return " ".join(text.split())

    def _without_special(self, text: str) -> str:
        """Blank special tokens out until none is left: what one leaves behind may make up another."""
        if self._special is None:
            return text
        while self._special.search(text):
            text = self._special.sub(" ", text)
        return text


def visible(text: str, *, keep_lines: bool = False) -> str:
    """Without invisible characters; other white space than spaces becomes a space, except line ends on demand."""
    kept = "\n" if keep_lines else ""
    return "".join(
        character if character in kept or not character.isspace() else " "
        for character in text
        if _is_visible(character)
    )


def _is_visible(character: str) -> bool:
    if character.isspace():
        return True
    return unicodedata.category(character) not in _INVISIBLE_CATEGORIES and character not in _INVISIBLE
