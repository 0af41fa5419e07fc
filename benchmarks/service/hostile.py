"""Bodies, pictures and headers that nobody should send: none is answered with 500, and memory stays bounded."""

from __future__ import annotations

import base64
import io
import json
import random
import string
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from benchmarks.service.server import Server, running
from latent_guard.bench.result_table import Row

CLIENTS = 8
GROWTH_MIB = 200.0
IMAGES, MODERATIONS = "/v1/images/generations", "/v1/moderations"
GUARDRAIL, RELOAD = "/beta/litellm_basic_guardrail_api", "/admin/reload"
FIELDS = {
    IMAGES: (
        "prompt",
        "model",
        "n",
        "size",
        "seed",
        "response_format",
        "output_format",
        "user",
        "moderation",
        "stream",
    ),
    MODERATIONS: ("input", "model", "moderation"),
    GUARDRAIL: ("input_type", "texts", "images", "tools", "request_data", "litellm_call_id"),
    RELOAD: ("policy", "bank", "category", "prompts"),
}
HEADERS = ("authorization", "content-type", "content-encoding", "accept", "x-forwarded-for", "expect", "host", "range")


def hostile(log: Path, count: int) -> list[Row]:
    """Send ``count`` of them to the service of the shipped model of four steps."""
    with running(log, "--queue", "32", model="shipped-few-step") as server:
        before = server.resident_mib()
        statuses = _sent(server, count)
        after = server.resident_mib()
        alive = httpx.get(f"{server.url}/health/ready", timeout=60).status_code == 200
    return rows_of(statuses, before, after, alive=alive)


def rows_of(statuses: Counter[Any], before: float, after: float, *, alive: bool) -> list[Row]:
    """What the answers say, and the MiB that the server held before and after."""
    said = ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items(), key=str))
    wrong = statuses[500] + statuses["cut off"]
    return [
        Row(
            "hostile requests answered with 500, or not at all",
            "0",
            str(wrong),
            sum(statuses.values()) - statuses["not sent"],
            wrong == 0 and alive,
            said + ("" if alive else "; the server was not ready afterwards"),
        ),
        Row(
            "memory of the server after them",
            f"at most {GROWTH_MIB:.0f} MiB more",
            f"{after - before:+.0f} MiB",
            1,
            after - before <= GROWTH_MIB,
            f"{before:.0f} and {after:.0f} MiB",
        ),
    ]


def _sent(server: Server, count: int) -> Counter[Any]:
    def one(first: int) -> Counter[Any]:
        statuses: Counter[Any] = Counter()
        with httpx.Client(base_url=server.url, timeout=120) as client:
            for number in range(first, count, CLIENTS):
                statuses[_status(client, request_of(random.Random(number)))] += 1
        return statuses

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(one, range(CLIENTS)), Counter())


def _status(client: httpx.Client, request: dict[str, Any]) -> int | str:
    """The status of the answer; "not sent" where the client itself refuses to send such a thing."""
    try:
        return client.request(**request).status_code
    except (httpx.LocalProtocolError, httpx.InvalidURL, ValueError):
        return "not sent"
    except httpx.TransportError:
        return "cut off"


def request_of(draws: random.Random) -> dict[str, Any]:
    """One request: its method, address, headers and body."""
    url = draws.choice((IMAGES, IMAGES, MODERATIONS, MODERATIONS, GUARDRAIL, RELOAD, _path(draws)))
    method = draws.choices(("POST", "GET", "PUT", "DELETE", "OPTIONS"), (20, 2, 1, 1, 1))[0]
    headers = {"content-type": "application/json"}
    for _ in range(draws.choice((0, 0, 0, 1, 2))):
        headers[draws.choice(HEADERS)] = _latin(draws, draws.choice((0, 5, 300)))
    return {"method": method, "url": url, "headers": headers, "content": _body(draws, FIELDS.get(url, ("prompt",)))}


def _path(draws: random.Random) -> str:
    return "/" + "/".join(draws.choice(("v1", "..", "images", "%00", "%2e%2e", "admin", "metrics")) for _ in range(3))


def _body(draws: random.Random, fields: tuple[str, ...]) -> bytes:
    """JSON of the right fields with wrong values, JSON cut short or changed, or no JSON."""
    content = {name: _value(draws, name) for name in draws.sample(fields, draws.randint(0, len(fields)))}
    if draws.random() < 0.1:
        content[_text(draws)] = _value(draws, "")
    whole = json.dumps(content, ensure_ascii=draws.random() < 0.5).encode("utf-8", "surrogatepass")
    kind = draws.random()
    if kind < 0.7:
        return whole
    if kind < 0.8:
        return whole[: draws.randrange(len(whole) + 1)]
    if kind < 0.9:
        at = draws.randrange(len(whole))
        return whole[:at] + draws.randbytes(3) + whole[at:]
    return draws.choice((draws.randbytes(200), b"[" * 20_000, b'{"a":' * 5_000, b"1e999", b"", b"null", b"NaN"))


def _value(draws: random.Random, field: str) -> Any:
    right: dict[str, Callable[[], Any]] = {
        "prompt": lambda: _text(draws),
        "n": lambda: draws.choice((1, 0, -1, 10**9, 1.5)),
        "size": lambda: draws.choice(("64x64", "0x0", "99999x99999", "auto", "64x", "-1x-1")),
        "seed": lambda: draws.choice((0, -1, 2**63, 2**70, 1e300)),
        "input": lambda: draws.choice((_text(draws), [_text(draws)] * 3, [_part(draws)], [_part(draws)] * 40)),
        "images": lambda: [_data_url(draws)],
        "texts": lambda: [_text(draws)],
    }
    if field in right and draws.random() < 0.6:
        return right[field]()
    return draws.choice(
        (None, True, "", _text(draws), 0, -1, 1e308, 10**30, [], {}, [[[]]], {"a": {"b": []}}, ["x"] * 99)
    )


def _part(draws: random.Random) -> Any:
    return draws.choice(
        (
            {"type": "text", "text": _text(draws)},
            {"type": "image_url", "image_url": {"url": _data_url(draws)}},
            {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}},
            {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
            {"type": _text(draws)},
        )
    )


def _data_url(draws: random.Random) -> str:
    """A picture, a picture that is cut or changed, or none."""
    buffer = io.BytesIO()
    Image.new("RGB", (draws.choice((1, 64, 300)), 64), draws.choice(("red", "black"))).save(
        buffer, draws.choice(("PNG", "JPEG", "WEBP", "GIF"))
    )
    content = bytearray(buffer.getvalue())
    if draws.random() < 0.6:
        for _ in range(draws.randint(1, 9)):
            content[draws.randrange(len(content))] = draws.randrange(256)
    if draws.random() < 0.2:
        content = bytearray(draws.choice((b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>", b"", draws.randbytes(99))))
    kind = draws.choice(("png", "jpeg", "svg+xml", "../../x", ""))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _text(draws: random.Random) -> str:
    return draws.choice(
        (
            "a cat",
            "a pirate party",
            "",
            " ",
            "\x00",
            "\ud800",
            "\u202e\u200b" * 20,
            "<script>alert(1)</script>",
            "=1+1",
            "../../etc/passwd",
            "{{7*7}}",
            "😀" * 500,
            "a " * 20_000,
            "".join(draws.choices(string.printable, k=50)),
        )
    )


def _latin(draws: random.Random, length: int) -> bytes:
    return bytes(draws.choice((*range(32, 127), *range(160, 256))) for _ in range(length))
