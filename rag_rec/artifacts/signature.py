"""The signature of a manifest, in a file beside it: files that were exchanged together with it are noticed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from rag_rec.artifacts.private import write_durably
from rag_rec.identity.signing import Signer, Verifier

SIGNATURE: Final = "manifest.sig"
_CONTEXT: Final = b"rag-rec index manifest\0"
"""Goes before what is signed, so that the signature of anything else is none of a manifest."""


class Signed(StrEnum):
    """What a signature says of a manifest."""

    BY_THIS_SYSTEM = "signed by this system"
    UNSIGNED = "not signed"
    OTHERWISE = "changed after it was signed, or signed by another system"


def sign_manifest(manifest: Path, signer: Signer) -> None:
    """Write the signature of a manifest beside it."""
    signature = signer.sign(_CONTEXT + manifest.read_bytes())
    write_durably(manifest.with_name(SIGNATURE), orjson.dumps({"key": signer.key_id, "signature": signature}))


def signed(manifest: Path, verifier: Verifier) -> Signed:
    """Whether a manifest is as this system signed it."""
    try:
        signature = orjson.loads(manifest.with_name(SIGNATURE).read_bytes())["signature"]
    except FileNotFoundError:
        return Signed.UNSIGNED
    except (OSError, ValueError, TypeError, KeyError):
        return Signed.OTHERWISE
    sound = isinstance(signature, str) and verifier.verify(_CONTEXT + manifest.read_bytes(), signature)
    return Signed.BY_THIS_SYSTEM if sound else Signed.OTHERWISE
