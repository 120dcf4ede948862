from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.domain import Item
from rag_rec.errors import InvalidInput
from rag_rec.generators.chat_tokens import ChatTokenizer
from rag_rec.generators.letters import LetterEncoder, label_tokens
from rag_rec.generators.prompts import LABELS, SYSTEM, Sizes
from rag_rec.generators.protocol import EvidenceLine, Prompt
from tests.rag_rec.generators.prompting import ITEMS, ORDERS, hostile_items, prompt
from tests.rag_rec.generators.tokenizers import CHATML, LLAMA, MISTRAL, QWEN, chat_tokenizer

CHAT = ChatTokenizer(chat_tokenizer())
ENCODER = LetterEncoder(CHAT, 4000, Sizes(title=60))
WORD_MARKS = ChatTokenizer(chat_tokenizer(MISTRAL, word_marks=True))
HISTORY = [
    EvidenceLine("1", "rating", 1, 4.0),
    EvidenceLine("3", "view", 2, None, "a bit long"),
    EvidenceLine("2", "rating", 3, 5.0),
]
FULL = prompt(["4", "5", "6", "7"], HISTORY, {"age": 25}, salt="epoch-1")
HOSTILE = hostile_items()
LETTER_LINE = re.compile(r"^[A-Za-z]\. ", re.MULTILINE)


def text_of(encoder: LetterEncoder, asked: Prompt, order: Sequence[int] | None = None) -> str:
    """The user's message as the model reads it."""
    tokens = encoder.encode(asked, order if order is not None else range(len(asked.candidates))).tokens
    frame = CHAT.frame(SYSTEM)
    text = CHAT.decode(tokens)
    assert text.startswith(frame.before_text)
    assert text.endswith(frame.after_text)
    return text.removeprefix(frame.before_text).removesuffix(frame.after_text)


@pytest.mark.parametrize("template", [CHATML, LLAMA, QWEN, MISTRAL], ids=["ChatML", "Llama", "Qwen", "Mistral"])
def test_the_tokens_are_those_of_the_whole_text(template: str) -> None:
    tokenizer: Any = chat_tokenizer(template)
    encoder = LetterEncoder(ChatTokenizer(tokenizer), 4000)
    question = encoder.question(FULL, range(4))
    system, user = (str(message.content) for message in question.messages())
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    if template == MISTRAL:
        messages = [{"role": "user", "content": f"{system}\n\n{user}"}]
    whole = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=False, return_dict=False
    )
    assert list(encoder.encode(FULL, range(4)).tokens) == whole


def test_the_user_message_of_a_tokenised_prompt() -> None:
    assert text_of(ENCODER, FULL, [3, 0, 1, 2]) == (
        "User: age: 25\n"
        "History, oldest to newest:\n"
        "- rating 4: Toy Story (1995) | Animation, Comedy\n"
        "- view: Sabrina | Romance\n"
        "Comment: a bit long\n"
        "- rating 5: Heat (1995) | Action, Crime, Thriller\n"
        "Most recent: Heat (1995) | Action, Crime, Thriller\n"
        "Candidates:\n"
        "A. untitled\n"
        "B. A film without a title. Drama, family. An old sailor comes home.\n"
        "C. 千と千尋の神隠し (2001)\n"
        "D. Kettle | Kitchen\n"
        "Answer:"
    )


def test_labels_are_by_candidate_and_letters_by_place() -> None:
    encoded = ENCODER.encode(FULL, [3, 0, 1, 2])
    letters = [CHAT.decode([label]) for label in encoded.labels if label is not None]
    assert letters == ["B", "C", "D", "A"]
    assert encoded.salt == "epoch-1"


@given(st.permutations(range(7)))
@settings(max_examples=20)
def test_every_order_shows_each_candidate_beside_its_own_label(order: list[int]) -> None:
    asked = prompt([str(number) for number in range(1, 8)])
    shown = dict(re.findall(r"^([A-Z])\. (.*)$", text_of(ENCODER, asked, order), re.MULTILINE))
    alone = [text_of(ENCODER, prompt([candidate.item_id])) for candidate in asked.candidates]
    labels = ENCODER.encode(asked, order).labels
    for label, single in zip(labels, alone, strict=True):
        assert label is not None
        assert f"A. {shown[CHAT.decode([label])]}\n" in single


def test_what_the_seam_asks_of_an_encoder() -> None:
    assert (ENCODER.most_candidates, ENCODER.ordered, ENCODER.evidence_cost, ENCODER.least_mass) == (
        52,
        True,
        None,
        0.5,
    )
    assert [CHAT.decode([label]) for label in ENCODER.label_tokens] == list(LABELS)
    with pytest.raises(InvalidInput, match="only 52 letters"):
        ENCODER.encode(prompt(["1"] * 53), range(53))
    for order in ([0], [0, 0], [0, 2], [0, 1, 2]):
        with pytest.raises(InvalidInput, match="every candidate once"):
            ENCODER.encode(prompt(["1", "2"]), order)


def test_prompts_of_everybody_share_their_beginning() -> None:
    first, second = (ENCODER.encode(prompt(ids, HISTORY), range(2)).tokens for ids in (["4", "5"], ["6", "7"]))
    frame = CHAT.frame(SYSTEM)
    assert first[: len(frame.before)] == second[: len(frame.before)] == frame.before
    common = CHAT.plain(text_of(ENCODER, prompt([], HISTORY)).removesuffix("Answer:"))
    assert first[len(frame.before) :][: len(common)] == second[len(frame.before) :][: len(common)] == common


def line(number: int) -> EvidenceLine:
    return EvidenceLine("2", f"e{number}", number, 1.0, "so so")


def test_evidence_is_left_out_from_the_oldest_on() -> None:
    asked = prompt(list(ITEMS), [line(number) for number in range(400)])
    budgets = (1000, 1001, 1050, 1500)
    for budget in budgets:
        encoder = LetterEncoder(CHAT, budget, Sizes(profile=0))
        tokens = encoder.encode(asked, range(7)).tokens
        kept = [int(number) for number in re.findall(r"^- e(\d+) ", text_of(encoder, asked), re.MULTILINE)]
        assert kept == list(range(400 - len(kept), 400))
        longer = prompt(list(ITEMS), [line(number) for number in range(400 - len(kept) - 1, 400)])
        assert len(tokens) <= budget < len(LetterEncoder(CHAT, 9000).encode(longer, range(7)).tokens)


def test_candidates_are_shortened_but_never_left_out() -> None:
    items = {str(number): Item(str(number), f"{number} " + "words and words " * 20) for number in range(52)}
    asked = prompt(items, [line(0)], {"about": "long story " * 50}, {**ITEMS, **items})
    least = _least_budget()
    for budget in range(least, 2600, 150):
        encoder = LetterEncoder(CHAT, budget)
        text = text_of(encoder, asked)
        assert len(encoder.encode(asked, range(52)).tokens) <= budget
        assert LETTER_LINE.findall(text) == [f"{label}. " for label in LABELS]
        assert re.findall(r"^\w\. (\d+)", text, re.MULTILINE) == list(items)


def _least_budget() -> int:
    with pytest.raises(InvalidInput, match=r"allow at least (\d+)") as refused:
        LetterEncoder(CHAT, 100)
    return int(str(refused.value).rpartition(" ")[2].rstrip("."))


@pytest.mark.parametrize("chat", [CHAT, WORD_MARKS], ids=["bytes", "word marks"])
def test_hostile_texts_change_no_item_set(chat: ChatTokenizer) -> None:
    encoder = LetterEncoder(chat, 5000)
    ids = list(HOSTILE)[:52]
    evidence = [EvidenceLine(ids[-1], order, 0, 1.0, order) for order in ORDERS]
    asked = prompt(ids, evidence, {order[:100]: order for order in ORDERS}, HOSTILE)
    harmless = prompt(["2"] * 52)
    encoded = encoder.encode(asked, range(52))
    assert encoded.labels == encoder.encode(harmless, range(52)).labels
    assert sorted(label for label in encoded.labels if label is not None) == sorted(encoder.label_tokens)
    special = [
        [token for token in encoder.encode(each, range(52)).tokens if token in chat.special_ids]
        for each in (asked, harmless)
    ]
    assert special[0] == special[1] != []


def test_hostile_texts_add_no_line() -> None:
    for start in range(0, len(HOSTILE), 4):
        ids = list(HOSTILE)[start : start + 4]
        evidence = [EvidenceLine(item_id, ORDERS[start // 4], 0, 1.0, ORDERS[start // 4]) for item_id in ids]
        text = text_of(ENCODER, prompt(ids, evidence, {"about": ORDERS[start // 4]}, HOSTILE))
        lines = text.splitlines()
        assert LETTER_LINE.findall(text) == ["A. ", "B. ", "C. ", "D. "]
        assert sum(line == "Candidates:" for line in lines) == 1
        assert [line for line in lines if line.startswith("Answer:")] == ["Answer:"]
        assert sum(line.startswith("- ") for line in lines) == 4
        assert lines[-6] == "Candidates:"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
@settings(max_examples=60)
def test_arbitrary_titles_keep_the_labels_a_bijection(titles: list[str]) -> None:
    items = {str(number): Item(str(number), title, {"title": title}) for number, title in enumerate(titles)}
    asked = prompt(items, [EvidenceLine("0", "view", 0, None, titles[0])], {}, items)
    encoded = ENCODER.encode(asked, range(len(titles)))
    assert encoded.labels == ENCODER.label_tokens[: len(titles)]
    assert len(LETTER_LINE.findall(text_of(ENCODER, asked))) == len(titles)
    inner = encoded.tokens[len(CHAT.frame(SYSTEM).before) : -len(CHAT.frame(SYSTEM).after)]
    assert CHAT.special_ids.isdisjoint(inner)


def test_letters_are_read_as_the_template_has_replies_begin() -> None:
    tokens = label_tokens(WORD_MARKS, WORD_MARKS.frame(SYSTEM))
    assert tokens[0] == WORD_MARKS.plain("[/INST] A")[-1]
    assert label_tokens(CHAT, CHAT.frame(SYSTEM)) == tuple(CHAT.plain(letter)[0] for letter in LABELS)


def test_a_tokenizer_that_cannot_spell_the_letters_is_refused() -> None:
    poor = ChatTokenizer(chat_tokenizer(alphabet="ABCDEF ,.:;abcdef"))
    with pytest.raises(InvalidInput, match="choose another instruction-tuned model"):
        LetterEncoder(poor, 4000)


def test_a_saved_model_is_opened(tmp_path: Path) -> None:
    chat_tokenizer().save_pretrained(tmp_path)
    assert LetterEncoder.open(str(tmp_path)).encode(FULL, range(4)) == LetterEncoder(CHAT).encode(FULL, range(4))


def test_items_with_one_text_are_written_once_and_changed_texts_anew() -> None:
    before = text_of(ENCODER, prompt(["2"]))
    changed = {"2": Item("2", "Heat", {"title": "Heat, restored"})}
    assert "A. Heat (1995)" in before
    assert "A. Heat, restored\n" in text_of(ENCODER, prompt(["2"], items=changed))
