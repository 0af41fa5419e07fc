"""Where pictures come from: the request itself, or a host that the operator allows, at a public address of it."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from latent_guard.errors import GuardError, InputError
from latent_guard.serving.moderation import pictures
from latent_guard.serving.moderation.https_get import https_get
from latent_guard.serving.moderation.pictures import all_bytes, is_public, picture_bytes, public_address
from tests.serving.moderation.conftest import data_url, in_base64

Script = Callable[[ssl.SSLSocket], None]  # what a server does with a connection
HOST = "pictures.example"


@pytest.mark.parametrize("given", [in_base64(b"abc"), data_url(b"abc"), "data:image/PNG;base64,YWJj", "Y W\nJj"])
def test_a_picture_in_the_request_is_its_bytes(given: str) -> None:
    assert picture_bytes(given, ()) == b"abc"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/a.png",
        "http://pictures.example/a.png",
        "https://pictures.example:22/a.png",
        "https://pictures.example@other.example/a.png",
        "https://other.example#@pictures.example/a.png",
        "https://other.example\\@pictures.example/a.png",
        "https://me:secret@pictures.example/a.png",
        "https://pictures.example.other.example/a.png",
        "https://[::1/a.png",
        "https://pictures.example:99999999/",
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "https:/pictures.example/a.png",
        "https://",
        "https://pictures.example/\xe9.png",
        "data:,a",
        "data:image/png,a",
    ],
)
def test_no_other_place_is_asked(url: str) -> None:
    with pytest.raises(InputError):
        picture_bytes(url, {HOST})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_a_host_of_a_private_address_is_refused_though_it_is_allowed(host: str) -> None:
    with pytest.raises(InputError, match="not public"):
        public_address(host)
    bracketed = f"[{host}]" if ":" in host else host
    with pytest.raises(InputError, match="not public"):
        picture_bytes(f"https://{bracketed}/a.png", {host})


def test_a_host_without_an_address_cannot_be_checked() -> None:
    with pytest.raises(GuardError, match="no address"):
        public_address("nowhere.invalid")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("172.31.255.255", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", False),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False),
        ("::", False),
        ("no address", False),
    ],
)
def test_public_addresses_are_those_of_the_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of ``HOST`` that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextmanager
def answering(certificate: Path, script: Script) -> Iterator[int]:
    """The port of a server on loopback that does one thing with one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            plain, _ = listening.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as secure:
                    secure.recv(4096)
                    script(secure)
            except OSError:  # the client hung up
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)


def said(text: str) -> Script:
    return lambda secure: secure.sendall(text.encode())


def dripping(secure: ssl.SSLSocket) -> None:
    secure.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(9):  # a second is over before
        secure.sendall(b"a")
        time.sleep(0.5)


def got(certificate: Path, script: Script, host: str = HOST, target: str = "/a.png") -> bytes:
    context = ssl.create_default_context(cafile=str(certificate))
    with answering(certificate, script) as port:
        return https_get(host, port, target, "127.0.0.1", max_bytes=10, seconds=1.0, context=context)


def test_a_picture_is_fetched_from_the_address_that_was_checked(certificate: Path) -> None:
    assert got(certificate, said("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")) == b"abc"
    assert got(certificate, said("HTTP/1.1 200 OK\r\n\r\n0123456789")) == b"0123456789"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n", "redirects are not followed"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n0123456789a", "over 10 bytes"),
        ("HTTP/1.1 200 OK\r\n\r\n0123456789a", "over 10 bytes"),
    ],
)
def test_redirects_errors_and_large_files_are_refused(certificate: Path, answer: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        got(certificate, said(answer))


@pytest.mark.parametrize(
    "script",
    [said("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), said("nonsense"), said(""), dripping],
    ids=["cut", "nonsense", "nothing", "dripping"],
)
def test_what_does_not_come_whole_and_in_time_cannot_be_checked(certificate: Path, script: Script) -> None:
    began = time.monotonic()
    with pytest.raises(GuardError, match="could be judged"):
        got(certificate, script)
    assert time.monotonic() - began < 15


def test_all_pictures_of_a_request_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SECONDS", 0.0)
    with pytest.raises(GuardError, match="took over"):
        all_bytes([f"https://{HOST}/a.png"], {HOST})
    assert all_bytes([in_base64(b"abc")], {HOST}) == [b"abc"]


def test_another_hosts_certificate_is_not_taken(certificate: Path) -> None:
    with pytest.raises(GuardError):
        got(certificate, said("HTTP/1.1 200 OK\r\n\r\nabc"), host="other.example")


def test_a_target_with_a_line_break_is_not_sent(certificate: Path) -> None:
    with pytest.raises(InputError, match="must be escaped"):
        got(certificate, said(""), target="/a\r\nX: y")
