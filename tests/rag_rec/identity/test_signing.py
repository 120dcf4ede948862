from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.errors import WrongKey
from rag_rec.identity.signing import Signer, Verifier

SIGNER = Signer(b"s" * 32)
OTHER = Signer(b"o" * 32)
DATA = b"what was said"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


def test_what_was_signed_can_be_checked_with_the_public_key_alone() -> None:
    verifier = Verifier.from_pem(SIGNER.public_pem)
    assert verifier.verify(DATA, SIGNER.sign(DATA))
    assert verifier.key_id == SIGNER.key_id
    assert verifier.public_pem == SIGNER.public_pem


def test_a_signature_is_plain_ed25519() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert hashlib.sha256(raw).hexdigest().startswith(SIGNER.key_id)
    assert SIGNER.sign(DATA) == SIGNER.sign(DATA)


def test_other_data_another_key_and_no_signature_are_refused() -> None:
    signature = SIGNER.sign(DATA)
    assert not SIGNER.verifier.verify(DATA + b".", signature)
    assert not OTHER.verifier.verify(DATA, signature)
    assert SIGNER.key_id != OTHER.key_id
    for text in ("", "?", "AAAA", "é", signature[:-2], signature + "\n", " " + signature):
        assert not SIGNER.verifier.verify(DATA, text)


@given(st.integers(0, 87), st.sampled_from(ALPHABET))
def test_every_change_of_a_signatures_text_is_detected(place: int, character: str) -> None:
    signature = SIGNER.sign(DATA)
    changed = signature[:place] + character + signature[place + 1 :]
    assert SIGNER.verifier.verify(DATA, changed) is (changed == signature)


def test_what_is_no_ed25519_public_key_is_refused() -> None:
    elliptic = generate_private_key(SECP256R1()).public_key()
    foreign = elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for pem in ("", "not PEM", SIGNER.public_pem[:60], foreign):
        with pytest.raises(WrongKey, match="not an Ed25519 public key"):
            Verifier.from_pem(pem)
