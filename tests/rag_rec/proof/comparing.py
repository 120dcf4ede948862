"""What is looked at in a proof."""

from __future__ import annotations

from rag_rec.engine.engine import Engine
from rag_rec.proof.table import Proof
from tests.rag_rec.forgetting.homes import number_of


def unequal(found: Proof) -> set[str]:
    return {row.check for row in found.rows if not row.equal}


def some_user(engine: Engine) -> int:
    return number_of(engine.store, "user-2")
