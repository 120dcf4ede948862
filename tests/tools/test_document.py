"""The reference pages say what the code says: a setting, command or call that changes fails here until documented."""

from __future__ import annotations

import pytest

from rag_rec.settings import Settings
from tools.document import BEGIN, DOCS, END, REFERENCES, openapi_document, renewed


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_page_matches_the_code(name: str) -> None:
    page = (DOCS / name).read_text()
    assert renewed(page, REFERENCES[name]()) == page, "run `make documents`"


def test_every_setting_has_a_meaning() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    page = (DOCS / "settings.md").read_text()
    assert all(f"`RAGREC_{name.upper()}`" in page for name in Settings.model_fields)


def test_every_call_has_a_description() -> None:
    page = (DOCS / "api.md").read_text()
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            assert operation["description"]
            assert f"`{method.upper()} {path}`" in page


def test_every_option_has_a_meaning() -> None:
    lines = [line for line in REFERENCES["cli.md"]().splitlines() if line.startswith("- ")]
    assert lines
    assert not [line for line in lines if line.rstrip().endswith("`:")]


def test_only_the_generated_part_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert renewed(page, r"new \1") == f"before\n{BEGIN}\n\nnew \\1\n\n{END}\nafter\n"


def test_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        renewed("no markers", "reference")
