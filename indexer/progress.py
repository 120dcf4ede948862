"""How a long job tells a person how far it has come: :mod:`rag_rec.progress`, by the names that batch jobs use."""

from __future__ import annotations

from rag_rec.progress.protocol import Percent, Progress, Silent
from rag_rec.progress.shown import Shown as Bars

__all__ = ["Bars", "Percent", "Progress", "Silent"]
