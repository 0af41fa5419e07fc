"""The audit log: one JSON line a verdict, appended whole, by however many processes share the file."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.building import build, checked
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value, read_lines
from latent_guard.files.json_text import json_text
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import Verdict
from latent_guard.pipelines.prompt_truncation import require_text
from latent_guard.version import __version__

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank


@dataclass(frozen=True)
class AuditLog:
    """A file of JSON lines. A prompt can be private or unsafe, so it is written as its SHA-256 unless ``prompts``."""

    path: Path
    prompts: bool = False

    def write(
        self, verdicts: Sequence[Verdict], prompts: Sequence[str] | None, policies: Policies, bank: ConceptBank
    ) -> None:
        """Append one line a verdict; ``prompts`` has one entry each, None where the caller's prompts are not known.

        Raises:
            InputError: the file cannot be written, or a prompt is no text.
        """
        about = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "package": __version__,
            "policy": {"name": policies.name, "hash": policies.digest},
            "latent_clip": bank.fingerprint,
            "bank": bank.digest,
        }
        of_prompt = [self._named(prompt) for prompt in prompts] if prompts is not None else [{}] * len(verdicts)
        lines = [
            json_text({**about, **named, "verdict": verdict.to_dict()}) + "\n"
            for named, verdict in zip(of_prompt, verdicts, strict=True)
        ]
        self.append("".join(lines).encode())

    def append(self, lines: bytes) -> None:
        """Add lines to the end of the file: all of them and at once, or ``InputError``.

        ``O_APPEND`` alone puts one write behind another on a local disk; the lock also serves where it does not.
        Behind a line that an earlier write left without its end, they begin on one of their own.
        """
        # A pipe's last byte cannot be read, nor that of a log that its writer may only add to.
        readable = not self.path.exists() or (self.path.is_file() and os.access(self.path, os.R_OK))
        try:
            file = os.open(self.path, (os.O_RDWR if readable else os.O_WRONLY) | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if lines and readable and _ends_in_mid_line(file):
                    lines = b"\n" + lines
                written = os.write(file, lines)
            finally:
                os.close(file)  # and with it the lock
        except OSError as error:
            raise InputError(
                f"cannot write the audit log {self.path} ({error.strerror or error}); name another file"
            ) from error
        if written < len(lines):
            raise InputError(f"the audit log {self.path} was cut off in mid-line; make room on its disk")

    def _named(self, prompt: str) -> dict[str, str]:
        require_text(prompt)
        if self.prompts:
            return {"prompt": prompt}
        return {"prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest()}


def _ends_in_mid_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


@dataclass(frozen=True)
class Entry:
    """What a summary needs of one line."""

    decision: str
    category: str | None
    policy: str
    prompt_flagged: bool


def read_audit(path: Path | str) -> tuple[list[Entry], int]:
    """The entries of an audit log, and how many lines are none (cut off by a full disk, or altered).

    Raises:
        InputError: the file cannot be read, or holds lines but no entry.
    """
    read = [_entry(line) for line in read_lines(path, "the audit log")]
    entries = [entry for entry in read if entry is not None]
    if read and not entries:
        raise InputError(f"{path} holds no verdict; name a file that the guard's audit log wrote")
    return entries, len(read) - len(entries)


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
    except InputError:
        return None
    flagged = verdict.prompt is not None and verdict.prompt.flagged
    return Entry(verdict.decision.value, verdict.category, f"{policy.name} {policy.hash}", flagged)
