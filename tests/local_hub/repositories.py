"""The repositories of a hub on this machine: a folder each, its commit, and who may see it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OWNER, STRANGER = "hf_owner", "hf_stranger"  # tokens: of one who may do everything, of one who may read what is public


@dataclass
class Hub:
    """What a hub holds and how it misbehaves; a test may change it while the hub is being asked.

    A model ``owner/name`` lies in ``root/owner/name``, its other revisions in ``root/owner/name@revision``; a data set
    in ``root/datasets/owner/name``.

    Attributes:
        gated: repositories whose files are for those alone who accepted their terms.
        private: repositories that strangers are told do not exist.
        listed: file names that a repository lists besides those that it holds.
        cut: files, as owner/name/file, whose download always stops after half of it.
        status: what every request is answered with, instead of what it asks for.
        asked: method and path of every request so far.
        objects: large files that were sent and are not committed yet, by SHA-256.
    """

    root: Path
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    listed: dict[str, list[str]] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    status: int | None = None
    asked: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)

    def folder(self, kind: str, repository: str, revision: str = "main") -> Path | None:
        """Where a revision lies, a branch, tag or commit; None if there is none. ``kind`` is ``models`` or other."""
        place = self.root / repository if kind == "models" else self.root / kind / repository
        if not place.is_dir() or revision == "main":
            return place if place.is_dir() else None
        others = {path.name.rpartition("@")[2]: path for path in place.parent.glob(f"{place.name}@*")}
        commits = {commit_of(path): path for path in (place, *others.values())}
        return {**others, **commits}.get(revision)

    def tree(self, folder: Path, repository: str) -> list[dict[str, Any]]:
        """The files of a repository as the hub lists them, those included that it only claims to hold."""
        held = [
            {"type": "file", "path": path, "size": file.stat().st_size, "oid": blob_id(file.read_bytes())}
            for path, file in files_of(folder).items()
        ]
        claimed = [
            {"type": "file", "path": path, "size": 6, "oid": blob_id(path.encode())}
            for path in self.listed.get(repository, ())
        ]
        return held + claimed

    def refusal(
        self, repository: str, token: str | None, *, files: bool = False, write: bool = False
    ) -> Refusal | None:
        """Why somebody may not have a repository, or its ``files``, or ``write`` it; None if he may."""
        if token not in (None, OWNER, STRANGER):
            return Refusal(401, "", "Invalid credentials in Authorization header")
        if repository in self.private and token != OWNER:
            return absent(token)
        if files and repository in self.gated and token != OWNER:
            return Refusal(401 if token is None else 403, "GatedRepo", f"Access to model {repository} is restricted.")
        if write and token != OWNER:
            return Refusal(401 if token is None else 403, "", "You don't have the rights to create a model here.")
        return None


@dataclass(frozen=True)
class Refusal:
    """Status, X-Error-Code and X-Error-Message."""

    status: int
    code: str
    message: str


def absent(token: str | None) -> Refusal:
    """As the hub says that there is no such repository: who is not logged in is asked to log in."""
    return Refusal(401 if token is None else 404, "RepoNotFound", "Repository not found")


def files_of(folder: Path) -> dict[str, Path]:
    """By their names in the repository."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def commit_of(folder: Path) -> str:
    """Forty digits that change with any file."""
    files = files_of(folder)
    return hashlib.sha1(repr([(path, blob_id(file.read_bytes())) for path, file in files.items()]).encode()).hexdigest()


def blob_id(content: bytes) -> str:
    """As git has it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
