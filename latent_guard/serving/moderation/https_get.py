"""One HTTPS request to an address that was checked before: no redirect, no proxy, no more bytes or time than said."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Timer

from latent_guard.errors import GuardError, InputError

_CHUNK = 1 << 16


class _ToAddress(http.client.HTTPSConnection):
    """A connection to one address, whatever the host's name would resolve to by now; its certificate is the host's."""

    def __init__(self, host: str, port: int, address: str, seconds: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=seconds, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)


def https_get(
    host: str,
    port: int,
    target: str,
    address: str,
    *,
    max_bytes: int,
    seconds: float,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """The body of an answer with status 200.

    Args:
        host: for the certificate and the ``Host`` header.
        port: of the server.
        target: path and query.
        address: IP address that is connected to.
        max_bytes: the most that is read.
        seconds: of all of it.
        context: by default certificates are checked against the system's authorities.

    Raises:
        InputError: another status (a redirect is one), too long a body, or a target that is no part of a URL.
        GuardError: no answer, a bad certificate, or one that takes too long.
    """
    connection = _ToAddress(host, port, address, seconds, context or ssl.create_default_context())
    until = time.monotonic() + seconds
    try:
        connection.connect()
        with _deadline(connection.sock, max(0.0, until - time.monotonic())):
            return _body(connection, target, max_bytes)
    except http.client.InvalidURL as error:
        raise InputError(f"no URL of {host}: it holds characters that must be escaped") from error
    except (OSError, http.client.HTTPException) as error:  # ssl.SSLError and time-outs are OSErrors
        raise GuardError(f"{host} gave no picture that could be judged ({type(error).__name__})") from error
    finally:
        connection.close()


def _body(connection: http.client.HTTPSConnection, target: str, max_bytes: int) -> bytes:
    connection.sock.do_handshake()
    connection.request("GET", target, headers={"Accept": "image/*", "Accept-Encoding": "identity"})
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise InputError(f"{connection.host} answered with status {answer.status}; redirects are not followed")
    content = bytearray()
    while chunk := answer.read(min(_CHUNK, max_bytes + 1 - len(content))):
        content += chunk
        if len(content) > max_bytes:
            raise InputError(f"the picture at {connection.host} has over {max_bytes:,} bytes, and no more are read")
    if answer.length:
        raise http.client.IncompleteRead(bytes(content), answer.length)
    return bytes(content)


@contextmanager
def _deadline(sock: ssl.SSLSocket, seconds: float) -> Iterator[None]:
    """Shut a connection down when its time is up; a socket's own time-out begins anew with each byte that comes."""
    late = Event()

    def shut() -> None:
        late.set()
        with suppress(OSError):  # it is closed already
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # what was read until then may look like a whole answer
            raise TimeoutError
