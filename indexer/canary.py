"""An invented person, planted to see whether any trace of them can be found after they were forgotten."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_rec.clock import now_ms
from rag_rec.domain import Interaction, User
from rag_rec.proof.forensics import marks_of

MINUTE_MS = 60_000


@dataclass(slots=True)
class Canary:
    """The invented person: what is stored of them, and the bytes by which every trace is found."""

    user: User
    events: list[Interaction]
    marks: list[bytes] = field(default_factory=list)

    @classmethod
    def on(cls, item_ids: Sequence[str]) -> Canary:
        """Somebody who met these items in the last minutes, and wrote about each."""
        user = User(f"canary-{secrets.token_hex(16)}", {"drill": secrets.token_hex(16)})
        start = now_ms() - MINUTE_MS * len(item_ids)
        events = [
            Interaction(user.id, item_id, start + MINUTE_MS * at, "like", text=f"drill {secrets.token_hex(16)}")
            for at, item_id in enumerate(item_ids)
        ]
        texts = [user.id, str(user.attributes["drill"]), *(event.text or "" for event in events)]
        return cls(user, events, [mark for text in texts for mark in marks_of(text)])
