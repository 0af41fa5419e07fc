"""The audit log: one JSON line a verdict, in a chain that shows changes, by however many processes share the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError
from latent_guard.files.atomic import writing
from latent_guard.guidance.audit_file import append_lines
from latent_guard.guidance.audit_key import key_from_environment, named_prompt
from latent_guard.guidance.fail_open import OnError
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.verdict import Verdict
from latent_guard.pipelines.prompt_truncation import require_text
from latent_guard.version import __version__

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank


@dataclass(frozen=True)
class AuditLog:
    """A file of JSON lines. A prompt can be private or unsafe, so it is written as its digest unless ``prompts``.

    Attributes:
        path: the file; where it holds lines from before there was a chain, the first line of the chain marks them.
        prompts: write prompts as they are.
        rotate_at: bytes at which the file becomes ``PATH.000001`` and so on, and another one begins, in the same chain;
            None: never.
        key: makes the chain and the digests of prompts HMACs, so that who rewrites the whole file is found, and nobody
            else can guess prompts; by default that of the environment variable ``LATENT_GUARD_AUDIT_KEY``.
    """

    path: Path
    prompts: bool = False
    rotate_at: int | None = None
    key: bytes | None = field(default_factory=key_from_environment, repr=False)

    def __post_init__(self) -> None:
        if self.rotate_at is not None and self.rotate_at < 1:
            raise InputError(f"rotate_at must be a number of bytes, 1 or more, not {self.rotate_at}")

    @classmethod
    def opened(cls, path: Path, *, prompts: bool = False, rotate_at: int | None = None) -> AuditLog:
        """The log at a path, whose folder is made; one that cannot be written is found out now.

        Raises:
            InputError: its folder cannot be made.
            GuardError: it cannot be written.
        """
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        log = cls(path, prompts=prompts, rotate_at=rotate_at)
        log.append([])
        return log

    def write(
        self,
        verdicts: Sequence[Verdict],
        prompts: Sequence[str] | None,
        policies: Policies,
        bank: ConceptBank,
        on_error: OnError = "close",
    ) -> None:
        """Append one line a verdict; ``prompts`` has one entry each, None where the caller's prompts are not known.

        ``on_error`` is what held for this call, whether its caller or the policy said so.

        Raises:
            GuardError: the lines cannot be written, so that no image may be handed out.
            InputError: a prompt is no text, or makes a line longer than what is read as one; no image may be handed
                out then either.
        """
        about = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "package": __version__,
            "policy": {"name": policies.name, "hash": policies.digest},
            "on_error": on_error,
            "latent_clip": bank.fingerprint,
            "bank": bank.digest,
        }
        of_prompt = [self._named(prompt) for prompt in prompts] if prompts is not None else [{}] * len(verdicts)
        self.append([{**about, **named, "verdict": v.to_dict()} for named, v in zip(of_prompt, verdicts, strict=True)])

    def append(self, contents: Sequence[dict[str, Any]]) -> None:
        """Add a line for each content to the end of the file: all of them and at once.

        Without one, it is only made sure that the file can be written.

        Raises:
            GuardError: it cannot be written.
        """
        append_lines(self.path, contents, self.key, self.rotate_at)

    def _named(self, prompt: str) -> dict[str, str]:
        require_text(prompt)
        return {"prompt": prompt} if self.prompts else named_prompt(prompt, self.key)
