"""Index files: named arrays in the safetensors format with one line that says what kind of file it is.

Equal arrays give equal bytes. A file is on the disk before a write returns, and is checked in full before a read does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rag_rec.artifacts.private import write_durably
from rag_rec.errors import CorruptIndex

Arrays = dict[str, npt.NDArray[Any]]
VERSION = "1"


def write_arrays(path: Path, kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays durably to a new file, or replace the file."""
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # One metadata entry only: the library writes several in random order, and equal contents must give equal bytes.
    serialised = save(content, metadata={"rag-rec": f"{kind}/{VERSION}"})
    write_durably(path, serialised)


def read_arrays(path: Path, kind: str, types: Mapping[str, np.dtype[Any]]) -> Arrays:
    """Read the arrays of a file back.

    Args:
        path: the file.
        kind: what it must say that it is.
        types: the name and type of each array that it must hold, and no others.

    Raises:
        CorruptIndex: the file is missing, truncated, foreign, or holds other arrays.
    """
    return read_some(path, kind, types, types)


def read_some(path: Path, kind: str, types: Mapping[str, np.dtype[Any]], names: Iterable[str]) -> Arrays:
    """Read some arrays of a file back; the others are not read. Arguments and errors as for :func:`read_arrays`."""
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("rag-rec") != f"{kind}/{VERSION}":
                raise damaged(path, f"is not a file of {kind} vectors of version {VERSION}")
            held = set(file.keys())
            arrays = {name: np.asarray(file.get_tensor(name)) for name in names if name in held}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError):
        raise damaged(path, "cannot be read") from None
    if held != set(types) or any(array.dtype != types[name] for name, array in arrays.items()):
        raise damaged(path, "does not hold the expected arrays")
    return arrays


def damaged(path: Path, fault: str) -> CorruptIndex:
    """The error for a file that cannot be used."""
    return CorruptIndex(
        f"The index file {path.name} {fault}: run `rag-rec index rebuild`, or activate another generation."
    )
