"""Reading an audit log: what is counted of its lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from latent_guard.building import build, checked
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value, read_lines
from latent_guard.guidance.audit_chain import is_gap
from latent_guard.guidance.audit_verify import log_files
from latent_guard.guidance.verdict import Verdict


@dataclass(frozen=True)
class Entry:
    """What is read of one line.

    Attributes:
        decision, category: of the verdict; None: no category.
        policy: name and digest.
        prompt_flagged: whether the prompt's text was over its threshold.
        time: when, in UTC; None: the line does not say.
        latent_clip, bank, package: what judged: fingerprint, digest, version; empty where a line does not say.
        watched: ``Verdict.gate``.
        on_error: "open" where an image would have gone on unguarded; empty in lines of before it was written.
    """

    decision: str
    category: str | None
    policy: str
    prompt_flagged: bool
    time: datetime | None = None
    latent_clip: str = ""
    bank: str = ""
    package: str = ""
    watched: str = ""
    on_error: str = ""


def read_audit(*files: Path | str) -> tuple[list[Entry], int]:
    """The entries of an audit log, and how many lines are none (cut off by a full disk, or altered).

    A log's name stands for the files that it was rotated into, too.

    Raises:
        InputError: a file cannot be read, or they hold lines but no entry.
    """
    read = [_entry(line) for line in _lines(list(map(Path, files)))]
    entries = [entry for entry in read if entry is not None]
    if read and not entries:
        named = ", ".join(map(str, files))
        raise InputError(f"{named} holds no verdict; name a file that the guard's audit log wrote")
    return entries, len(read) - len(entries)


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    """All lines but those that mark gaps."""
    for file in log_files(files):
        yield from (line for line in read_lines(file, "the audit log") if not is_gap(line))


@dataclass(frozen=True)
class _Policy:
    """What a line says of the policy."""

    name: str
    hash: str


def _entry(line: bytes) -> Entry | None:
    try:
        content = checked(Mapping[str, Any], json_value(line, "a line", any_text=True), "the audit log", "a line")
        verdict = Verdict.from_dict(content.get("verdict"))
        policy = build(_Policy, content.get("policy"), "policy")
        texts = {name: _text(content, name) for name in ("latent_clip", "bank", "package", "on_error")}
        time = time_of(_text(content, "time"))
    except InputError:
        return None
    flagged = verdict.prompt is not None and verdict.prompt.flagged
    named = f"{policy.name} {policy.hash}"
    return Entry(verdict.decision.value, verdict.category, named, flagged, time, watched=verdict.gate, **texts)


def _text(content: Mapping[str, Any], name: str) -> str:
    value: str = checked(str, content.get(name, ""), "the audit log", name)
    return value


def time_of(text: str) -> datetime | None:
    """An ISO 8601 time, in UTC; None if it is none."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
