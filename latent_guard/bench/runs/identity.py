"""Which run a folder holds, and by what it was begun: a folder is gone on with by the same alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latent_guard.bench.runs.checksums import OF_RUN, read_checksums
from latent_guard.bench.spec import Spec
from latent_guard.errors import InputError
from latent_guard.files.checksums import Checksum
from latent_guard.files.documents import read_json, read_text

SPEC, ENVIRONMENT = "spec.yaml", "environment.json"
# What an image and its record depend on; of the environment.
SAME = ("bundle", "model", "guard_code", "prompts", "judge", "grader", "methods", "scheduler")


def text_of(spec: Spec) -> str:
    """As it lies in a run's folder."""
    text: str = yaml.safe_dump(spec.to_dict(), sort_keys=False, allow_unicode=True)
    return text


def require_spec(path: Path, spec: Spec) -> None:
    """Raise InputError unless a folder's run is of this spec; its checksum tells where the file is damaged."""
    file, asked = path / SPEC, text_of(spec)
    if _kept(path).get("files", {}).get(SPEC) == Checksum.of(asked.encode()):
        return
    try:
        text = read_text(file, "the spec")
    except InputError as error:
        raise InputError(f"{error}, so nobody knows which run {path} holds; choose another folder") from error
    if text != asked:
        raise InputError(f"{path} holds a run of another spec (see {file}); choose another folder")


def require_made_by(path: Path, environment: Mapping[str, Any]) -> None:
    """Raise InputError for a run by another model: half of it by one and half by the other is figures of neither."""
    file = path / ENVIRONMENT
    before = _kept(path).get("environment")
    if before is None:
        before = read_json(file, "the environment") if file.exists() else {}
    if not isinstance(before, dict):
        raise InputError(f"{file} is damaged, so nobody knows what {path} was begun with; choose another folder")
    if key := difference(before, environment):
        raise InputError(f"{path} was begun with another {key} (see {file}); choose another folder")


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first of `SAME` that two environments say differently; older ones say nothing of some."""
    return next((key for key in SAME if key in one and key in other and one[key] != other[key]), None)


def _kept(path: Path) -> dict[str, Any]:
    try:
        return read_checksums(path, OF_RUN) or {}
    except InputError:
        return {}
