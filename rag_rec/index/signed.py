"""Index generations of a system: signed where they are published, and checked before they are used."""

from __future__ import annotations

import structlog

from rag_rec.artifacts.digests import MANIFEST
from rag_rec.artifacts.signature import Signed, signed
from rag_rec.errors import CorruptIndex
from rag_rec.home.keys import existing_signer, key_places, open_signer
from rag_rec.index.generation import Generation, Generations, verify_files
from rag_rec.settings import Settings

log = structlog.get_logger()


def generations_of(settings: Settings) -> Generations:
    """The index generations of a system, to publish in: they are signed. Raises ``WrongKey`` as :func:`open_signer`."""
    return Generations(settings.generations, open_signer(settings))


def signature_of(generation: Generation, settings: Settings) -> Signed | None:
    """What the signature of a generation says; None where there is no key yet that could tell. Raises ``WrongKey``."""
    if key_places(settings)["signing"] is None:
        return None
    return signed(generation.folder / MANIFEST, existing_signer(settings).verifier)


def check_generation(generation: Generation, settings: Settings) -> None:
    """Check every byte of a generation before it is used: against its manifest, and that against its signature.

    One without a signature, as earlier versions made them, is used unless the settings say otherwise; the log says so.

    Raises:
        CorruptIndex: a file does not match, or the manifest was changed after it was signed, or is not signed and
            should be.
    """
    verify_files(generation)
    found = signature_of(generation, settings)
    if found is Signed.OTHERWISE:
        raise CorruptIndex(
            f"The manifest of index generation {generation.id} was changed after it was signed, or another system "
            "signed it: activate another one (`rag-rec index list`), or run `rag-rec index rebuild`."
        )
    if found is Signed.UNSIGNED and settings.unsigned_index == "refuse":
        raise CorruptIndex(
            f"Index generation {generation.id} is not signed, and RAGREC_UNSIGNED_INDEX refuses such: an earlier "
            "version made it, or its signature was removed. Run `rag-rec index rebuild`."
        )
    if found is Signed.UNSIGNED:
        log.warning("index_not_signed", generation=generation.id, advice="rag-rec index rebuild")
