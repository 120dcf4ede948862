"""Keeps libraries that load models off the terminal: stderr belongs to the command that is running."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_loading = threading.RLock()
"""The switches are those of the whole process: two loads side by side could leave them turned off."""


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the bar that counts loaded weights, and without PEFT's calls of transformers by an old name."""
    from transformers.utils import logging  # noqa: PLC0415 - takes seconds to import

    with _loading:
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
                yield
        finally:
            if shown:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
