"""Ed25519 signatures: who holds the private key signs, everybody else can check."""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from rag_rec.errors import WrongKey


class Verifier:
    """Checks signatures with a public key. ``key_id`` is the start of the SHA-256 of its 32 bytes."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def from_pem(cls, pem: str) -> Verifier:
        """The verifier of a public key in PEM.

        Raises:
            WrongKey: it is not an Ed25519 public key.
        """
        try:
            key = load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise WrongKey(
                "This is not an Ed25519 public key in PEM: take the file that `rag-rec receipt key --to FILE` writes."
            )
        return cls(key)

    @property
    def key_id(self) -> str:
        """Tells keys apart: 16 hexadecimal digits."""
        return hashlib.sha256(self._key.public_bytes_raw()).hexdigest()[:16]

    @property
    def public_pem(self) -> str:
        """The public key in PEM."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether the signature (base64) is of this data, by this key."""
        try:
            raw = base64.b64decode(signature, validate=True)
            self._key.verify(raw, data)
        except (ValueError, InvalidSignature):
            return False
        return _text(raw) == signature  # base64 has several texts for the same bytes; only one was signed


class Signer:
    """Signs with a private key, given by its 32 bytes. The same data gets the same signature."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(self._key.public_key())

    @property
    def key_id(self) -> str:
        """Tells keys apart: 16 hexadecimal digits."""
        return self.verifier.key_id

    @property
    def public_pem(self) -> str:
        """The public key in PEM."""
        return self.verifier.public_pem

    def sign(self, data: bytes) -> str:
        """The signature of some data, in base64."""
        return _text(self._key.sign(data))


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()
