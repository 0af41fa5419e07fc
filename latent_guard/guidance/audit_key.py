"""The key of the audit log, which only who writes and who verifies it hold."""

from __future__ import annotations

import hashlib
import hmac
import os

from latent_guard.errors import InputError

KEY = "LATENT_GUARD_AUDIT_KEY"
_SHORTEST = 16  # characters: what can be guessed protects nothing


def key_from_environment() -> bytes | None:
    """The key that the environment names; None without one.

    Raises:
        InputError: it is empty or short.
    """
    value = os.environ.get(KEY)
    if value is None:
        return None
    if len(value) < _SHORTEST:
        raise InputError(f"{KEY} has {len(value)} characters; give it {_SHORTEST} or more, or unset it")
    return os.fsencode(value)


def digest_of(message: bytes, key: bytes | None) -> str:
    """HMAC-SHA256 of a message, or without a key its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(message).hexdigest() if key is None else hmac.digest(key, message, "sha256").hex()


def named_prompt(prompt: str, key: bytes | None) -> dict[str, str]:
    """A prompt's digest under the name that says how it was made: who has no key can guess short prompts by it.

    With a key the prompt stands behind a word, so that no prompt is taken for a line of the log: these begin with "{".
    """
    if key is None:
        return {"prompt_sha256": digest_of(prompt.encode(), None)}
    return {"prompt_hmac_sha256": digest_of(b"prompt:" + prompt.encode(), key)}
