"""A Hugging Face tokenizer with a chat template, as prompts need it: untrusted text in, token ids out.

The chat template is applied once, around a place holder; after that, prompts are put together of token ids. Text is
never searched for special tokens: it goes through a copy of the tokenizer that knows none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer

from rag_rec.errors import InvalidInput, NotReady

PLACE = "question-8d21f0c7"
"""Stands for the user's message while the chat template is applied."""

Tokens = tuple[int, ...]
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """What a chat template puts around the user's message: as text, and as token ids."""

    before_text: str
    after_text: str
    before: Tokens
    after: Tokens


class ChatTokenizer:
    """Tokenises text and frames. Any number of threads may use it at once.

    Args:
        tokenizer: a fast tokenizer of Hugging Face transformers, with a chat template.

    Raises:
        InvalidInput: it has no chat template, or no fast implementation.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise InvalidInput(
                "The tokenizer has no chat template, so its model was not tuned to follow instructions: choose an "
                "instruction-tuned LLM, or the compact generator, which needs none."
            )
        if not isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
            raise InvalidInput("The tokenizer has no fast implementation: the model's folder needs a tokenizer.json.")
        self._template: Callable[..., str] = tokenizer.apply_chat_template
        content = json.loads(tokenizer.backend_tokenizer.to_str())
        self._full = _tokenizer(content)
        self.special_ids = frozenset(token["id"] for token in content["added_tokens"] if _structures(token))
        self.special = frozenset(token["content"] for token in content["added_tokens"] if _structures(token))
        self._plain = _tokenizer({**content, "added_tokens": []})

    @classmethod
    def open(cls, name: str) -> Self:
        """The tokenizer of a model, by its Hugging Face name or its folder.

        Raises:
            NotReady: there is no such tokenizer.
            InvalidInput: it is not one that chat prompts can be written with.
        """
        from transformers import AutoTokenizer  # noqa: PLC0415  takes seconds, and few commands need it

        try:
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=Path(name).is_dir())
        except (OSError, ValueError) as error:
            raise NotReady(
                f"The tokenizer of {name!r} cannot be loaded ({type(error).__name__}): give the name or folder of an "
                "instruction-tuned Hugging Face model."
            ) from error
        return cls(tokenizer)

    def plain(self, text: str) -> Tokens:
        """Token ids of a text in which nothing is special."""
        return tuple(self._plain.encode(text, add_special_tokens=False).ids)

    def after(self, lead: str, text: str) -> Tokens:
        """Token ids of a text in which nothing is special, where it follows ``lead``."""
        return _remainder(self.plain(lead), self.plain(lead + text)) or self.plain(text)

    def capped(self, text: str, most: int) -> str:
        """The beginning of a text that costs at most ``most`` tokens where it follows a space."""
        encoding = self._plain.encode(" " + text, add_special_tokens=False)
        while len(encoding.ids) > most:
            end = _end_of(encoding, most)
            text = text[: min(end, len(text) - 1)].rstrip()
            encoding = self._plain.encode(" " + text, add_special_tokens=False)
        return text

    def frame(self, system: str) -> ChatFrame:
        """What the template puts around a user's message that follows these instructions, ready for the reply.

        Models that can think aloud are told not to, since the reply's first token has to be the answer.

        Raises:
            InvalidInput: the template changes messages, or has the reply begin with thinking.
        """
        before, after = self._around(
            [{"role": "system", "content": system}, {"role": "user", "content": PLACE}], system
        )
        if after.count("<think>") > after.count("</think>"):
            raise InvalidInput(
                "The chat template makes the model think before it answers, even when told not to: choose a model "
                "whose reply begins with the answer."
            )
        lead = self._special("Answer:")
        tokens = _remainder(lead, self._special("Answer:" + after)) or self._special(after)
        return ChatFrame(before, after, self._special(before), tokens)

    def reply(self, frame: ChatFrame, text: str) -> Tokens | None:
        """Token ids of a reply's beginning; None where it does not leave the frame's own tokens as they are."""
        return _remainder(self._special(frame.after_text), self._special(frame.after_text + text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, special ones included."""
        return str(self._full.decode(list(tokens), skip_special_tokens=False))

    def _around(self, messages: list[Message], system: str) -> tuple[str, str]:
        """The rendered template before and after the user's message."""
        rendered = self._render(messages)
        if rendered is None or system not in rendered:  # templates without a system role (Gemma, early Mistral)
            rendered = self._render([{"role": "user", "content": f"{system}\n\n{PLACE}"}])
        before, found, after = (rendered or "").partition(PLACE)
        if not found or PLACE in after or system not in before:
            raise InvalidInput("The chat template does not show the messages as they are: choose another model.")
        return before, after

    def _render(self, messages: list[Message]) -> str | None:
        from jinja2 import TemplateError  # noqa: PLC0415

        try:
            return self._template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        except TemplateError:
            return None

    def _special(self, text: str) -> Tokens:
        """Token ids of a text in which special tokens are special. Only for what the template wrote."""
        return tuple(self._full.encode(text, add_special_tokens=False).ids)


def _tokenizer(content: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))


def _structures(token: dict[str, Any]) -> bool:
    """Whether an added token can structure a prompt. Words and white space that somebody added cannot."""
    text = str(token["content"]).strip()
    return bool(token["special"]) or (text[:1] in ("<", "[") and text[-1:] in (">", "]"))


def _remainder(lead: Tokens, whole: Tokens) -> Tokens | None:
    """What follows ``lead`` in ``whole``; None where ``whole`` does not begin with it."""
    return whole[len(lead) :] if whole[: len(lead)] == lead else None


def _end_of(encoding: Any, tokens: int) -> int:
    """Where the first ``tokens`` tokens of an encoded text end, counted without the space in front of it."""
    return max(0, encoding.offsets[tokens - 1][1] - 1) if tokens > 0 else 0
