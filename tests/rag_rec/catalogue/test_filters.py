from __future__ import annotations

import operator
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.catalogue.filters import MAX_CHARACTERS, MAX_DEPTH, compile_filter
from rag_rec.catalogue.table import Catalogue
from rag_rec.domain import AttributeValue, Item
from rag_rec.errors import InvalidInput

FILMS = [
    Item("toy", "Toy Story", {"genres": ("Animation", "Comedy"), "year": 1995, "new": False, "studio": "Pixar"}, "A"),
    Item("heat", "Heat", {"genres": ("Action", "Crime"), "year": 1995, "new": True}, "B"),
    Item("ant", "Antz", {"genres": ("Animation",), "year": 1998.5, "studio": "DreamWorks"}),
    Item("old", "Sunrise", {"year": "silent era", "genres": "Drama", 'odd "name" é': 3}, "C"),
    Item("bare", "NOTHING KNOWN"),
]


def films() -> Catalogue:
    return Catalogue.of(FILMS, [3] * len(FILMS))


def found(expression: str) -> list[str]:
    mask = compile_filter(expression).mask(films())
    assert mask.dtype == np.bool_
    return [item.id for item, hit in zip(FILMS, mask, strict=True) if hit]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('genres = "Comedy" and year >= 1990 and not provider in ("B","C")', ["toy"]),
        ('genres = "Animation"', ["toy", "ant"]),
        ('genres contains "Animation"', ["toy", "ant"]),
        ('genres contains "anim"', []),
        ('genres != "Animation"', ["heat", "old"]),
        ('genres in ("Crime", "Drama")', ["heat", "old"]),
        ("year = 1995", ["toy", "heat"]),
        ("year != 1995", ["ant"]),
        ("not year = 1995", ["ant", "old", "bare"]),
        ("year < 1998.5", ["toy", "heat"]),
        ("year <= 1998.5", ["toy", "heat", "ant"]),
        ("year > 1995", ["ant"]),
        ("year >= 1.995e3", ["toy", "heat", "ant"]),
        ('year = "silent era"', ["old"]),
        ('year in (1995, "silent era")', ["toy", "heat", "old"]),
        ("new = true", ["heat"]),
        ("new != true", ["toy"]),
        ("new in (true, false)", ["toy", "heat"]),
        ('studio < "E"', ["ant"]),
        ('studio >= "DreamWorks"', ["toy", "ant"]),
        ('studio contains "WORKS"', ["ant"]),
        ("exists studio", ["toy", "ant"]),
        ("not exists genres", ["bare"]),
        ("exists id and exists text and exists provider", ["toy", "heat", "old"]),
        ('id = "ant"', ["ant"]),
        ('id != "ant"', ["toy", "heat", "old", "bare"]),
        ('id in ("ant", "nobody", "bare")', ["ant", "bare"]),
        ('id = "nobody"', []),
        ('provider != "A"', ["heat", "old"]),
        ('provider > "A"', ["heat", "old"]),
        ('provider contains "a"', ["toy"]),
        ('text contains "nothing"', ["bare"]),
        ('year = 1998.5 or year = 1995 and genres = "Crime"', ["heat", "ant"]),
        ('(year = 1998.5 or year = 1995) and genres = "Crime"', ["heat"]),
        ("not not new = true", ["heat"]),
        ("NOT new = TRUE AND EXISTS new", ["toy"]),
        ("`year`=1998.5", ["ant"]),
        ('`odd "name" é` = +3', ["old"]),
        ("studio = 'Pixar'", ["toy"]),
        ('studio = "\\u0050ixar"', ["toy"]),
        ("\n\tnew\n=\r\ntrue  ", ["heat"]),
    ],
)
def test_an_expression_finds(expression: str, expected: list[str]) -> None:
    assert found(expression) == expected


def test_words_of_the_grammar_may_begin_or_be_names() -> None:
    items = [Item("a", "", {"android": 1, "in": 2, "order": 3, "true-ish": 4, "not": 5})]
    catalogue = Catalogue.of(items, [1])
    for expression in ("android = 1", "in = 2", "order = 3", "true-ish = 4", "`not` = 5", "in in (2)"):
        assert compile_filter(expression).mask(catalogue).tolist() == [True]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"a\"b"', 'a"b'),
        (r"'a\'b'", "a'b"),
        (r'"\\"', "\\"),
        (r'"\n\r\t"', "\n\r\t"),
        (r'"é\u00e9"', "éé"),
        ("''", ""),
    ],
)
def test_strings_have_escapes(written: str, meant: str) -> None:
    catalogue = Catalogue.of([Item("a", "", {"label": meant}), Item("b", "", {"label": "other"})], [1, 1])
    assert compile_filter(f"label = {written}").mask(catalogue).tolist() == [True, False]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "at the end: expected (, a field name, exists, not"),
        ("year", "at the end: expected = != < <= > >=, contains, in"),
        ("year =", "at the end: expected a number, a string in quotes, false, true"),
        ("year == 3", "at character 7: expected a number"),
        ("year = 3 4", "at character 10: expected and, or, the end"),
        ("(year = 3", "at the end: expected ), and, or"),
        ("year = 3)", "at character 9: expected and, or, the end"),
        ("year in ()", "at character 10: expected a number"),
        ("year in (1 2)", "at character 12: expected ), ,"),
        ("year = 3 &", "at character 10: expected and, or, the end"),
        ("(new = true and year in (1, 2) &", "at character 32: expected ), and, or"),
        ("~", "at character 1: expected (, a field name, exists, not"),
        ('studio = "Pix', "quote at character 10 of the filter is not closed"),
        ("`year = 3", "quote at character 1 of the filter is not closed"),
        ("year = nan", "at character 8: expected a number"),
        ("year = 1e999", "number at character 8 of the filter is too large"),
        (r'studio = "\q"', "string at character 10 of the filter has an unknown escape"),
        (r'studio = "\u12"', "string at character 10 of the filter has an unknown escape"),
    ],
)
def test_a_fault_is_explained_with_its_position(expression: str, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        compile_filter(expression)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("director = 'X'", "'director'. Known fields: genres, id, new, odd \"name\" é, provider, studio, text, year."),
        ("new = true or director = 'X'", "'director'"),
        ("not exists director", "'director'"),
        ("studio = 3", "'studio' is of kind string: '=' cannot compare it with a number"),
        ("studio > true", "'>' cannot compare it with true or false"),
        ("new = 1", "'new' is of kind boolean"),
        ("new < true", "'<' cannot compare it with true or false"),
        ("year contains 1", "'contains' cannot compare it with a number"),
        ("year in (1995, true)", "'year' is of kind number and string"),
        ("new contains 'x'", "'new' is of kind boolean"),
        ("provider = 3", "'provider' is of kind string"),
        ("id < 'x'", "use = != in"),
        ("id = 3", "use = != in"),
        ("text = 'Heat'", "use contains"),
        ("text contains 3", "use contains"),
    ],
)
def test_what_the_catalogue_cannot_answer_is_refused(expression: str, message: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        compile_filter(expression).mask(films())
    assert message in str(raised.value)


def test_lists_have_no_order() -> None:
    catalogue = Catalogue.of([Item("a", "", {"genres": ("x",)})], [1])
    with pytest.raises(InvalidInput, match="'genres' is of kind list of strings: '<' cannot"):
        compile_filter("genres < 'z'").mask(catalogue)


def test_length_and_depth_are_limited() -> None:
    with pytest.raises(InvalidInput, match=f"{MAX_CHARACTERS} characters"):
        compile_filter("new = true" + " " * MAX_CHARACTERS)
    with pytest.raises(InvalidInput, match=f"nested {MAX_DEPTH} deep"):
        compile_filter("not " * MAX_DEPTH + "new = true")
    with pytest.raises(InvalidInput, match="nested"):
        compile_filter("not " * ((MAX_CHARACTERS - 10) // 4) + "new = true")
    assert found("not " * (MAX_DEPTH - 1) + "new = true") == ["toy", "ant", "old", "bare"]
    assert found("(" * 1900 + "new = true" + ")" * 1900) == ["heat"]
    assert found(" or ".join(["new = true"] * 200)) == ["heat"]


def test_fields_of_every_item_hide_attributes_of_the_same_name() -> None:
    catalogue = Catalogue.of([Item("a", "", {"id": "b", "provider": "Q", "text": "t"}, "P")], [1])
    found = [compile_filter(e).mask(catalogue)[0] for e in ("id = 'a'", "provider = 'P'", "provider = 'Q'")]
    assert found == [True, True, False]


def test_masks_are_kept_until_the_catalogue_changes() -> None:
    catalogue, compiled = films(), compile_filter("year = 1995")
    first = compiled.mask(catalogue)
    assert compiled.mask(catalogue) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False
    catalogue.put(2, Item("ant", "Antz", {"year": 1995}), 3)
    assert compiled.mask(catalogue).tolist() == [True, True, True, False, False]
    catalogue.put(5, Item("new", "New", {"year": 1995}), 3)
    assert compiled.mask(catalogue).tolist() == [True, True, True, False, False, True]
    assert compiled.mask(films()).tolist() == [True, True, False, False, False]


def test_equal_expressions_are_compiled_once() -> None:
    assert compile_filter("year = 1995") is compile_filter("year = 1995")


def test_filters_can_be_read_while_items_are_put() -> None:
    catalogue, stop = films(), threading.Event()
    compiled = compile_filter('studio = "S7" or not (label contains "S1" and text contains "x") or id = "n300"')
    catalogue.put(0, Item("toy", "Toy", {"studio": "S7", "label": "S1"}), 1)

    def write() -> None:
        for number in range(len(FILMS), 600):
            catalogue.put(number, Item(f"n{number}", "x", {"studio": f"S{number}", "label": f"S{number}"}), 1)
            catalogue.put(number // 2, Item(f"m{number}", "x", {"studio": f"S{number}", f"new{number % 50}": True}), 1)
        stop.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not stop.is_set() and not writing.done():
            assert len(compiled.mask(catalogue)) <= len(catalogue)
        writing.result()
    twin = Catalogue.of([catalogue.item(number) for number in range(600)], [1] * 600)
    assert np.array_equal(compiled.mask(catalogue), compiled.mask(twin))


# Any expression against a row-by-row evaluation of what it means.

Row = Callable[[Item], bool]
Written = tuple[str, Row]
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WORDS = ["Drama", "War", 'a"b', "é\\"]
NUMBERS = [-1, 0, 2.5, 1990]


def _field(item: Item, field: str) -> Any:
    return {"id": item.id, "provider": item.provider}.get(field, item.attributes.get(field))


def _is(held: Any, value: Any) -> bool | None:
    """Whether ``held`` equals ``value``; None where they cannot be compared."""
    if isinstance(held, tuple):
        return value in held if isinstance(value, str) else None
    numbers = [isinstance(part, int | float) and not isinstance(part, bool) for part in (held, value)]
    return held == value if type(held) is type(value) or all(numbers) else None


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def equality(field: str, value: Any, negated: bool) -> Written:
    if negated:
        return f"{field} != {_write(value)}", lambda item: _is(_field(item, field), value) is False
    return f"{field} = {_write(value)}", lambda item: _is(_field(item, field), value) is True


def membership(field: str, values: list[Any]) -> Written:
    written = f"{field} in ({', '.join(map(_write, values))})"
    return written, lambda item: any(_is(_field(item, field), value) is True for value in values)


def order(field: str, sign: str, value: Any) -> Written:
    def holds(item: Item) -> bool:
        held = _field(item, field)
        comparable = _is(held, value) is not None and not isinstance(held, tuple)
        return comparable and ORDERS[sign](held, value)

    return f"{field} {sign} {_write(value)}", holds


def exists(field: str) -> Written:
    return f"exists {field}", lambda item: _field(item, field) is not None


def negation(part: Written) -> Written:
    return f"not ({part[0]})", lambda item: not part[1](item)


def junction(parts: list[Written], every: bool) -> Written:
    written = (" and " if every else " or ").join(f"({part[0]})" for part in parts)
    return written, lambda item: (all if every else any)(part[1](item) for part in parts)


words, numbers = st.sampled_from(WORDS), st.sampled_from(NUMBERS)
literal = st.one_of(words, numbers, st.booleans())
typed = [("label", words), ("genres", words), ("year", numbers), ("new", st.booleans()), ("mixed", literal)]
comparison = st.one_of(
    st.sampled_from(typed).flatmap(lambda f: st.builds(equality, st.just(f[0]), f[1], st.booleans())),
    st.sampled_from(typed).flatmap(lambda f: st.builds(membership, st.just(f[0]), st.lists(f[1], min_size=1))),
    st.builds(order, st.sampled_from(["label", "provider", "mixed"]), st.sampled_from(list(ORDERS)), words),
    st.builds(order, st.sampled_from(["year", "mixed"]), st.sampled_from(list(ORDERS)), numbers),
    st.builds(exists, st.sampled_from(["label", "genres", "year", "new", "mixed", "provider"])),
    st.builds(equality, st.just("provider"), words, st.booleans()),
    st.builds(equality, st.just("id"), st.sampled_from(["every", "0", "1", "none"]), st.booleans()),
)
conditions = st.recursive(
    comparison,
    lambda parts: (
        st.builds(negation, parts) | st.builds(junction, st.lists(parts, min_size=1, max_size=3), st.booleans())
    ),
    max_leaves=8,
)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "label": words,
        "genres": st.lists(words, max_size=3).map(tuple),
        "year": numbers,
        "new": st.booleans(),
        "mixed": st.one_of(literal, st.lists(words, max_size=2).map(tuple)),
    },
)
# The first items hold every field with every kind of value, so that no comparison lacks what it compares with.
MIXED: list[AttributeValue] = ["War", 1990, True, ("War", "Drama")]
COMPLETE = [
    Item(f"every{i}", "", {"label": "War", "genres": ("War",), "year": 0, "new": True, "mixed": mixed}, "War")
    for i, mixed in enumerate(MIXED)
]


@given(
    condition=conditions,
    drawn=st.lists(st.tuples(attributes, st.none() | words), max_size=6),
    order_seed=st.randoms(use_true_random=False),
)
def test_masks_equal_a_row_by_row_evaluation(condition: Written, drawn: list[Any], order_seed: Any) -> None:
    expression, holds = condition
    listed = COMPLETE + [Item(str(i), "", held, provider) for i, (held, provider) in enumerate(drawn)]
    order_seed.shuffle(listed)
    catalogue = Catalogue.of(listed, [1] * len(listed))
    assert compile_filter(expression).mask(catalogue).tolist() == [holds(item) for item in listed]


@given(st.text(alphabet="abyear ()=<>!,\"'`\\10.nodtrui\n", max_size=40))
def test_no_text_does_anything_but_compile_or_be_refused(expression: str) -> None:
    try:
        compile_filter(expression).mask(films())
    except InvalidInput as error:
        assert str(error)
