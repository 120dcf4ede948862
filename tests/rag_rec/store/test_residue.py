"""The zeroing of unallocated space, on pages built by hand."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.store.residue import descriptors, zero_residue

PAGE = 512


def page(kind: int, cells: int, content: int, filler: bytes = b"#") -> bytes:
    """A page whose every byte but the header is ``filler``."""
    header = bytes([kind, 0, 0]) + cells.to_bytes(2, "big") + content.to_bytes(2, "big") + b"\0"
    return header + filler * (PAGE - len(header))


def zeroed(tmp_path: Path, pages: list[bytes]) -> tuple[int, list[bytes]]:
    path = tmp_path / "pages"
    path.write_bytes(b"".join(pages))
    descriptor = os.open(path, os.O_RDWR)
    cleaned = zero_residue(descriptor, PAGE)
    os.close(descriptor)
    content = path.read_bytes()
    return cleaned, [content[at : at + PAGE] for at in range(0, len(content), PAGE)]


@pytest.mark.parametrize(("kind", "header"), [(2, 12), (5, 12), (10, 8), (13, 8)])
def test_only_the_gap_of_a_tree_page_is_zeroed(tmp_path: Path, kind: int, header: int) -> None:
    before = page(kind, 3, 400)
    cleaned, pages = zeroed(tmp_path, [page(13, 0, 512), page(5, 0, 512), before])
    first, stop = header + 2 * 3, 400
    assert cleaned == 1
    assert pages[2] == before[:first] + bytes(stop - first) + before[stop:]


def test_the_schema_and_the_pointer_maps_are_left_alone(tmp_path: Path) -> None:
    described = PAGE // 5 + 1
    untouched = [page(13, 1, 300), page(2, 1, 300)] + [page(0, 0, 0)] * (described - 1) + [page(5, 1, 300)]
    assert zeroed(tmp_path, untouched) == (0, untouched)


def test_pages_of_other_kinds_and_impossible_headers_are_left_alone(tmp_path: Path) -> None:
    start = [page(13, 0, 512)] * 2
    untouched = [*start, page(0, 1, 400), page(7, 1, 400), page(13, 1, 4000), page(13, 300, 400)]
    assert zeroed(tmp_path, untouched) == (0, untouched)


def test_a_clean_page_is_not_written(tmp_path: Path) -> None:
    clean = page(13, 1, 400, b"\0")
    assert zeroed(tmp_path, [clean] * 4) == (0, [clean] * 4)


def test_a_descriptor_is_shared_and_closed_with_its_last_holder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    first, second = descriptors.acquire(path), descriptors.acquire(path)
    assert first == second
    descriptors.release(first)
    assert os.fstat(first).st_size == 1
    descriptors.release(first)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)


def slow_gaps(content: bytes) -> list[tuple[int, int]]:
    """The same page by page, byte by byte, as the file format describes it."""
    headers = {2: 12, 5: 12, 10: 8, 13: 8}
    found = []
    for number in range(len(content) // PAGE):
        each = content[number * PAGE : (number + 1) * PAGE]
        cells, start = int.from_bytes(each[3:5], "big"), int.from_bytes(each[5:7], "big") or 65536
        describes = number == 0 or (number - 1) % (PAGE // 5 + 1) == 0
        if each[0] in headers and not describes and start <= PAGE:
            first = headers[each[0]] + 2 * cells
            if any(each[first:start]):
                found.append((number * PAGE + first, number * PAGE + start))
    return found


@given(
    st.lists(
        st.builds(
            page,
            st.sampled_from([0, 2, 5, 7, 10, 13]),
            st.integers(0, 300),
            st.integers(0, PAGE + 8),
            st.sampled_from([b"#", b"\0"]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, PAGE - 1),
)
def test_it_zeroes_what_the_slow_way_finds(pages: list[bytes], place: int) -> None:
    content = bytearray(b"".join(pages))
    content[-1 - place] = content[-1 - place] or 1  # one byte that may lie anywhere in the last page
    gaps = slow_gaps(bytes(content))
    with tempfile.TemporaryDirectory() as folder:
        cleaned, after = zeroed(Path(folder), [bytes(content)])
    for first, stop in gaps:
        content[first:stop] = bytes(stop - first)
    assert cleaned == len(gaps)
    assert b"".join(after) == bytes(content)
