"""The review key: a private half for reviewers, and a public half for the servers that keep images for them."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from latent_guard.errors import InputError
from latent_guard.files.atomic import for_the_owner, write_atomic, writing
from latent_guard.files.documents import read_bytes

PUBLIC_SUFFIX = ".pub"
MAX_BYTES = 1 << 16


def make_keys(path: Path) -> Path:
    """Make a key pair: the private half in ``path``, readable by its owner alone; the public half's path.

    Raises:
        InputError: a file is there already, since what it opens could never be opened again; or none can be written.
    """
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    if taken := next((file for file in (path, public) if file.exists()), None):
        raise InputError(f"{taken} exists, and images may be sealed for it; name another file")
    key = X25519PrivateKey.generate()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb", opener=for_the_owner) as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_atomic(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public


def read_private_key(path: Path | str) -> X25519PrivateKey:
    """The private half.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        key = load_pem_private_key(read_bytes(path, "the review key", MAX_BYTES), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password
        raise InputError(f"{path} is no private review key; `latent-guard review-key FILE` makes one") from error
    if not isinstance(key, X25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind; `latent-guard review-key FILE` makes one")
    return key


def read_public_key(path: Path | str) -> X25519PublicKey:
    """The public half, all that a server needs.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    content = read_bytes(path, "the public review key", MAX_BYTES)
    if b"PRIVATE KEY" in content:
        raise InputError(f"{path} is the private review key; give the server the file that ends in {PUBLIC_SUFFIX}")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no public review key; `latent-guard review-key FILE` makes one") from error
    if not isinstance(key, X25519PublicKey):
        raise InputError(f"{path} holds a key of another kind; `latent-guard review-key FILE` makes one")
    return key
