"""What a request asks to be judged, read from its JSON: texts, and places of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value
from latent_guard.serving.moderation.assessment import Kind

MAX_TEXTS = 256  # of a request: a chat's messages
MAX_CHARACTERS = 100_000  # of all its texts
MAX_IMAGES = 8


@dataclass(frozen=True)
class Part:
    """A text, or of an image the URL, data URL or base64 text of its file."""

    kind: Kind
    content: str


@dataclass(frozen=True)
class _ImageURL:
    url: str


@dataclass(frozen=True)
class _TextPart:
    type: str
    text: str


@dataclass(frozen=True)
class _ImagePart:
    type: str
    image_url: _ImageURL


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that is a request's body.

    Raises:
        InputError: it is none, or holds what is not read here.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 (byte {error.start:,})") from error
    value = json_value(text, "the body")
    if not isinstance(value, dict):
        raise InputError("the body is not a JSON object")
    return value


def moderation_input(given: Any) -> list[list[Part]]:
    """The parts of each result that OpenAI's ``input`` asks for: a text one, a list of texts one each, others one.

    Raises:
        InputError: it is nothing of that, or more than is judged at a time.
    """
    if isinstance(given, str):
        return within_limits([[Part("text", _with_words(given, "input"))]])
    if not isinstance(given, list) or not given:
        raise InputError("input must be a text, a list of texts, or a list of text and image_url objects; it has none")
    if all(isinstance(item, str) for item in given):
        return within_limits([[Part("text", _with_words(item, f"input {n}"))] for n, item in enumerate(given)])
    return within_limits([[_part(item, f"input {n}") for n, item in enumerate(given)]])


def within_limits(groups: list[list[Part]]) -> list[list[Part]]:
    """The same; raises ``InputError`` where that is more than is judged at a time."""
    texts = [part.content for group in groups for part in group if part.kind == "text"]
    images = sum(len(group) for group in groups) - len(texts)
    _require_few(len(texts), MAX_TEXTS, "texts")
    _require_few(images, MAX_IMAGES, "images")
    _require_few(sum(map(len, texts)), MAX_CHARACTERS, "characters of text")
    return groups


def texts_of(parts: Sequence[Part]) -> list[str]:
    """The texts among some parts, in their order."""
    return [part.content for part in parts if part.kind == "text"]


def _part(item: Any, where: str) -> Part:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "text":
        return Part("text", _with_words(build(_TextPart, item, where).text, where))
    if kind == "image_url":
        return Part("image", build(_ImagePart, item, where).image_url.url)
    raise InputError(f"{where} is neither a text object nor an image_url object, nor are all of them texts")


def _with_words(text: str, where: str) -> str:
    """The text; one without a word is no answer's worth: an embedding of nothing scores what it happens to."""
    if not text.strip():
        raise InputError(f"{where} is an empty text; leave it out")
    return text


def _require_few(count: int, most: int, what: str) -> None:
    if count > most:
        raise InputError(f"{count:,} {what} are too many for one request; send at most {most:,}")
