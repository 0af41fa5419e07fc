"""The chain of the audit log: each line ends in its number, the digest of the line before, and its own.

    {"time": ..., "verdict": {...}, "sequence": 7, "previous": "ab...", "hash": "cd..."}

The digest is of all bytes before it: a SHA-256 named ``hash``, or under a key an HMAC-SHA256 named ``hmac``. Nothing is
parsed for it, so that no other writing of the same JSON passes for the line.

A chain shows every change within it. It cannot show that whole lines were cut off its end: that takes a head (number
and digest of a line) that was kept elsewhere. Who rewrites all of it is found by the key alone, or by a head.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.documents import MAX_LINE
from latent_guard.files.json_text import json_text
from latent_guard.guidance.audit_key import digest_of

_END = re.compile(
    rb', "sequence": (?P<sequence>[1-9][0-9]{0,17}), "previous": "(?P<previous>[0-9a-f]{64})"'
    rb', "(?P<kind>hash|hmac)": "(?P<digest>[0-9a-f]{64})"\}(?:\n|\Z)'
)
_GAP = re.compile(rb'\{"gap": \{"bytes": ([0-9]{1,18}), "sha256": "([0-9a-f]{64})"\}, "sequence"')


@dataclass(frozen=True)
class Link:
    """What a line says of its place: its number from 1, the digest of the line before, and its own.

    ``keyed`` says whether its own is an HMAC.
    """

    sequence: int
    previous: str
    digest: str
    keyed: bool = False

    @property
    def head(self) -> str:
        """The place, as ``head_of`` reads it: what is kept elsewhere to show that lines were cut off."""
        return f"{self.sequence}:{self.digest}"


BEGINNING = Link(0, "", "0" * 64)


def sealed_line(content: dict[str, Any], before: Link, key: bytes | None) -> tuple[bytes, Link]:
    """A line, with its end, behind ``before``; and its own place.

    Raises:
        InputError: it is longer than what is read as one.
    """
    sequence, kind = before.sequence + 1, "hash" if key is None else "hmac"
    text = f'{json_text(content)[:-1]}, "sequence": {sequence}, "previous": "{before.digest}"'.encode()
    digest = digest_of(text, key)
    line = text + f', "{kind}": "{digest}"}}\n'.encode()
    if len(line) > MAX_LINE:
        raise InputError(f"a line of the audit log would have {len(line):,} bytes; shorten the prompt")
    return line, Link(sequence, before.digest, digest, key is not None)


def link_of(line: bytes) -> Link | None:
    """The place that a line's end states, whether or not it is true; None if its end is another."""
    found = last_link(line)
    return None if found is None or found[1] != len(line) else found[0]


def last_link(lines: bytes) -> tuple[Link, int] | None:
    """The last place that some lines state, and where the line that states it ends; its newline may be missing."""
    found = None
    start = lines.rfind(b', "sequence": ')
    while found is None and start >= 0:
        found = _END.match(lines, start)
        start = lines.rfind(b', "sequence": ', 0, start)
    if found is None:
        return None
    digests = found["previous"].decode(), found["digest"].decode()
    return Link(int(found["sequence"]), *digests, keyed=found["kind"] == b"hmac"), found.end()


def is_true(line: bytes, link: Link, key: bytes | None) -> bool:
    """Whether the digest that a line states is that of its bytes; ``key`` where it is an HMAC."""
    text = line[: line.rindex(b', "hmac": "' if link.keyed else b', "hash": "')]
    return hmac.compare_digest(digest_of(text, key if link.keyed else None), link.digest)


def gap_of(unchained: bytes) -> dict[str, Any]:
    """The content of a line that marks the bytes before it, which are no line of the chain."""
    return {"gap": {"bytes": len(unchained), "sha256": hashlib.sha256(unchained).hexdigest()}}


def is_gap(line: bytes) -> bool:
    """Whether a line marks a gap, and is no verdict's."""
    return _GAP.match(line) is not None


def marks(line: bytes, unchained: bytes) -> bool:
    """Whether a line marks these bytes as a gap."""
    found = _GAP.match(line)
    sha256 = hashlib.sha256(unchained).hexdigest().encode()
    return found is not None and (int(found[1]), found[2]) == (len(unchained), sha256)


def head_of(text: str) -> tuple[int, str]:
    """Number and digest of ``Link.head``.

    Raises:
        InputError: it is no such text.
    """
    found = re.fullmatch("([0-9]{1,18}):([0-9a-f]{64})", text)
    if found is None:
        raise InputError(f"a head is a line's number and digest, as `audit verify` prints it, not {text!r}")
    return int(found[1]), found[2]
