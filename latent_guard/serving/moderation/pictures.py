"""The bytes of a picture that a request names: inside of it, or at a host that the operator allows.

A service that fetches whatever it is told to would reach for a stranger what only it can reach: other services of its
network, or a cloud's metadata. So nothing is fetched unless the operator named its host, and has a public address.
"""

from __future__ import annotations

import base64
import binascii
import socket
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv6Network, ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from latent_guard.errors import GuardError, InputError
from latent_guard.serving.moderation.https_get import https_get

MAX_BYTES = 20 << 20  # of a picture's file, as OpenAI's
SECONDS = 20.0  # to fetch all those of a request
PORT = 443
_NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address lies within, which might be a private one


def all_bytes(given: Sequence[str], hosts: Collection[str]) -> list[bytes]:
    """The files of a request's pictures, which are fetched within ``SECONDS`` in all; as ``picture_bytes``."""
    until = time.monotonic() + SECONDS
    return [picture_bytes(one, hosts, until - time.monotonic()) for one in given]


def picture_bytes(given: str, hosts: Collection[str], seconds: float = SECONDS) -> bytes:
    """The file of a picture, given as a data URL, in base64, or, to be fetched, as an https URL of one of ``hosts``.

    Raises:
        InputError: it is none of these, too large, or of another host.
        GuardError: its host does not answer within ``seconds``.
    """
    scheme = given[:8].lower()
    if scheme.startswith("data:"):
        return _decoded(_payload(given))
    if scheme.startswith(("http:", "https:")) or "://" in given[:64]:
        return _fetched(given, hosts, seconds)
    return _decoded(given)


def _payload(url: str) -> str:
    """The base64 text of a data URL (RFC 2397)."""
    header, comma, payload = url[len("data:") :].partition(",")
    kind, *parameters = header.lower().split(";")
    if not comma or not kind.strip().startswith("image/") or "base64" not in (p.strip() for p in parameters):
        raise InputError("a data URL must be of the form data:image/png;base64,...")
    return unquote(payload) if "%" in payload else payload


def _decoded(text: str) -> bytes:
    if len(text) > (MAX_BYTES // 3 + 1) * 4:
        raise InputError(f"an image has over {MAX_BYTES:,} bytes; scale it down")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
        raise InputError("an image is neither a data URL nor base64; encode the bytes of its file") from error


def _fetched(url: str, hosts: Collection[str], seconds: float) -> bytes:
    parts = _split(url)
    host = parts.hostname or ""
    if host not in hosts:
        raise InputError("images are not fetched from that host; send them as data URLs, or have the host allowed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isascii():
        raise InputError("an image's URL holds characters that must be escaped")
    if seconds <= 0:
        raise GuardError(f"the pictures of a request took over {SECONDS:g} seconds, so that they could not be judged")
    return https_get(host, PORT, target, public_address(host), max_bytes=MAX_BYTES, seconds=seconds)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "https" and parts.port in (None, PORT) and "@" not in parts.netloc
    except ValueError as error:  # a bad port, or brackets that close nothing
        raise InputError("an image's URL cannot be read") from error
    if not plain:
        raise InputError("an image's URL must be https, on port 443, and without a user's name")
    return parts


def public_address(host: str) -> str:
    """An IP address of a host, all of whose addresses are public: of no private, loopback or link-local network.

    Raises:
        InputError: one of them is not.
        GuardError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GuardError(f"{host} has no address, so that its picture could not be judged") from error
    addresses = [str(place[4][0]) for place in found]
    if not addresses or not all(map(is_public, addresses)):
        raise InputError(f"{host} has an address that is not public; images are not fetched from there")
    return addresses[0]


def is_public(address: str) -> bool:
    """True for an address of the public internet that belongs to one machine."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and (ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in _NAT64):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
