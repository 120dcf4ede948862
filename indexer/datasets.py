"""Downloads public data sets from where they are published, and checks what came."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from rag_rec.errors import InvalidInput, NotReady
from rag_rec.progress.protocol import Progress

_CHUNK = 1 << 20
_PARTIAL = 206
_TIMEOUT = httpx.Timeout(30.0)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A published archive. GroupLens states MD5 sums; they guard against damage, not against malice."""

    name: str
    url: str
    md5: str


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "ml-100k",
            "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            "0e33842e24a9c977be4e0107933c0723",
        ),
        Dataset(
            "ml-1m",
            "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            "c4d9eecfca2ab87c1945afe126590906",
        ),
    )
}


def fetch(dataset: Dataset, folder: Path, progress: Progress) -> Path:
    """Download an archive into a folder, going on where an earlier attempt stopped.

    The archive gets its name only when its sum is right; one that is there already is checked and kept.

    Raises:
        NotReady: if the server cannot be reached or breaks off; what came so far is kept for the next attempt.
        InvalidInput: if the folder cannot be written, or what came is not the archive; it is deleted.
    """
    target = folder / f"{dataset.name}.zip"
    if target.is_file() and _md5(target) == dataset.md5:
        return target
    partial = target.with_suffix(".zip.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(dataset, partial, progress)
    except httpx.HTTPError as error:
        raise NotReady(
            f"{dataset.url} cannot be downloaded ({type(error).__name__}). Try again, or get the archive by other "
            f"means and give its path to `rag-rec ingest`."
        ) from None
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be written: {error.strerror}.") from None
    if _md5(partial) != dataset.md5:
        partial.unlink()
        raise InvalidInput(f"What {dataset.url} sent is not the published archive; it was deleted. Try again later.")
    partial.replace(target)
    return target


def _download(dataset: Dataset, partial: Path, progress: Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    with httpx.stream("GET", dataset.url, headers=headers, follow_redirects=True, timeout=_TIMEOUT) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # everything is there already; the sum will tell
        response.raise_for_status()
        resumed = response.status_code == _PARTIAL
        progress.stage(f"{dataset.name}.zip", int(response.headers.get("Content-Length", 0)))
        with partial.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_bytes(_CHUNK):
                stream.write(chunk)
                progress.advance(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
