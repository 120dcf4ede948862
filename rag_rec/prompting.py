"""The evidence in the form that prompts show: lines made of the user's own interactions."""

from __future__ import annotations

import math

import numpy as np

from rag_rec.generators.protocol import EvidenceLine
from rag_rec.history import History
from rag_rec.live import Live
from rag_rec.store.protocol import Store


def evidence_lines(
    live: Live, store: Store, user: int | None, history: History, positives: History
) -> list[EvidenceLine]:
    """One line for each row of ``history``, in its order.

    Only interactions with a text of their own have to be read from the store. A row is positive if it is among
    ``positives``, the user's positive history with each item once.
    """
    ids, names = live.items.catalogue.ids, live.events
    texts = _own_texts(store, user, history)
    liked = np.isin(history["interaction"], positives["interaction"]).tolist()
    columns = (history[name].tolist() for name in ("item", "event", "time", "value", "interaction"))
    return [
        EvidenceLine(
            ids[item], names[event], time, None if math.isnan(value) else value, texts.get(interaction), positive
        )
        for item, event, time, value, interaction, positive in zip(*columns, liked, strict=True)
    ]


def _own_texts(store: Store, user: int | None, history: History) -> dict[int, str]:
    numbers = history["interaction"][history["own_text"]].tolist()
    if user is None or not numbers:
        return {}
    return {row.number: row.interaction.text or "" for row in store.interactions(user, numbers)}
