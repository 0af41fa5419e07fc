"""Bytes sealed for one reader: whoever holds the public key alone can write them, and cannot read them back.

A fresh X25519 key is made for every seal. HKDF-SHA256 turns what it shares with the reader's key into a key and a nonce
of AES-256-GCM, used once; the header is authenticated beside the sealed bytes. A seal says that nothing was altered
since it was made. It does not say who made it: anybody may have the public key.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from latent_guard.errors import InputError

PUBLIC_BYTES = 32  # of an X25519 key
_KEY_BYTES, _NONCE_BYTES = 32, 12
_PURPOSE = b"latent-guard withheld image 1"


def seal(reader: X25519PublicKey, header: bytes, content: bytes) -> bytes:
    """The fresh public key (32 bytes), then ``content`` encrypted (16 bytes longer) under it and ``header``."""
    fresh = X25519PrivateKey.generate()
    sender = fresh.public_key().public_bytes_raw()
    key, nonce = _key_and_nonce(fresh.exchange(reader), sender, reader.public_bytes_raw())
    return sender + AESGCM(key).encrypt(nonce, content, header)


def unseal(reader: X25519PrivateKey, header: bytes, sealed: bytes) -> bytes:
    """The content of ``seal``.

    Raises:
        InputError: the header or the sealed bytes were altered, or the seal is for another key.
    """
    sender, encrypted = sealed[:PUBLIC_BYTES], sealed[PUBLIC_BYTES:]
    try:
        shared = reader.exchange(X25519PublicKey.from_public_bytes(sender))
        key, nonce = _key_and_nonce(shared, sender, reader.public_key().public_bytes_raw())
        return AESGCM(key).decrypt(nonce, encrypted, header)
    except (InvalidTag, ValueError) as error:  # ValueError: too short, or a key that no exchange is possible with
        raise InputError("it was altered since it was written, or it was written for another review key") from error


def _key_and_nonce(shared: bytes, sender: bytes, reader: bytes) -> tuple[bytes, bytes]:
    """Both public keys are part of what the key is derived from, as in HPKE (RFC 9180, section 4.1)."""
    derive = HKDF(SHA256(), _KEY_BYTES + _NONCE_BYTES, salt=None, info=_PURPOSE + sender + reader)
    derived = derive.derive(shared)
    return derived[:_KEY_BYTES], derived[_KEY_BYTES:]
