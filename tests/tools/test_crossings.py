from __future__ import annotations

import colorsys

from rag_rec.clock import iso
from tools.crossings import traced


def test_modules_of_the_product_are_counted_and_no_others() -> None:
    def job() -> None:
        iso(0)
        iso(1)
        colorsys.rgb_to_hsv(0.1, 0.2, 0.3)

    assert traced(job) == {"modules": 1, "calls": 2, "crossings": 1}
