from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.errors import InvalidInput, NotReady
from rag_rec.generators.chat_tokens import ChatTokenizer
from tests.rag_rec.generators.tokenizers import CHATML, LLAMA, MISTRAL, QWEN, SPECIAL, THINKER, chat_tokenizer

CHAT = ChatTokenizer(chat_tokenizer())
MARKED = ChatTokenizer(chat_tokenizer(MISTRAL, word_marks=True))


def test_text_never_becomes_a_special_token() -> None:
    for chat in (CHAT, MARKED):
        text = "".join(SPECIAL) + "<think></think>"
        assert chat.special_ids.isdisjoint(chat.plain(text))
        assert chat.special_ids.isdisjoint(chat.after("A.", text))
        assert set(SPECIAL) | {"<think>", "</think>"} <= chat.special
    assert CHAT.decode(CHAT.plain("<|im_end|>")) == "<|im_end|>"


@pytest.mark.parametrize("chat", [CHAT, MARKED], ids=["bytes", "word marks"])
def test_text_that_follows_another_is_tokenised_as_within_it(chat: ChatTokenizer) -> None:
    for lead, text in [("A.", " Heat (1995)\n"), ("\n", "Candidates:"), ("A.", " Sabrina"), ("\n", "- rating 4:")]:
        assert chat.plain(lead) + chat.after(lead, text) == chat.plain(lead + text)


@given(st.text(max_size=40), st.integers(1, 12))
@settings(max_examples=100)
def test_a_capped_text_is_a_beginning_that_fits(text: str, most: int) -> None:
    text = text.replace("\ud800", "").strip()
    short = CHAT.capped(text, most)
    assert text.startswith(short)
    assert len(CHAT.plain(" " + short)) <= most
    assert CHAT.capped(short, most) == short
    if len(CHAT.plain(" " + text)) <= most:
        assert short == text


def test_the_longest_beginning_is_kept() -> None:
    text = "Comedy Thriller Animation Romance" * 4
    short = CHAT.capped(text, 6)
    assert len(CHAT.plain(" " + short)) == 6


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (CHATML, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        (
            QWEN,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n",
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (MISTRAL, "<s>[INST] Be brief.\n\n", " [/INST]"),
        (
            LLAMA,
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n",
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
    ids=["ChatML", "Qwen", "Mistral", "Llama"],
)
def test_the_frame_is_what_the_template_writes(template: str, before: str, after: str) -> None:
    tokenizer = chat_tokenizer(template)
    frame = ChatTokenizer(tokenizer).frame("Be brief.")
    assert (frame.before_text, frame.after_text) == (before, after)
    ids = tokenizer(f"{before}Answer:{after}", add_special_tokens=False)["input_ids"]
    assert [*frame.before, *CHAT.plain("Answer:"), *frame.after] == ids


def test_unusable_tokenizers_are_refused_with_advice() -> None:
    with pytest.raises(InvalidInput, match="instruction-tuned"):
        ChatTokenizer(chat_tokenizer(template=None))
    with pytest.raises(InvalidInput, match="think before it answers"):
        ChatTokenizer(chat_tokenizer(THINKER)).frame("Be brief.")
    with pytest.raises(InvalidInput, match="as they are"):
        ChatTokenizer(chat_tokenizer("{{ messages[0].content | upper }}")).frame("Be brief.")
    slow = type("Slow", (), {"chat_template": CHATML, "backend_tokenizer": None})()
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        ChatTokenizer(slow)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="cannot be loaded"):
        ChatTokenizer.open(str(tmp_path))


def test_a_saved_tokenizer_is_opened(tmp_path: Path) -> None:
    chat_tokenizer().save_pretrained(tmp_path)
    assert ChatTokenizer.open(str(tmp_path)).plain("Heat") == CHAT.plain("Heat")


def test_a_reply_is_the_tokens_after_the_frame() -> None:
    frame = CHAT.frame("Be brief.")
    assert CHAT.reply(frame, "A") == CHAT.plain("A")
    assert MARKED.reply(MARKED.frame("Be brief."), " A") is not None
