"""Which run a folder holds and what made it, and which of its files are whole.

A folder is resumed by the same spec and the same models alone. Checksums tell damaged files from good ones:

checksums/UNIT.json    of all files of a call, written before its part
checksums/run.json     of the spec, the environment and, once the run is finished, of its records and summary; the
                       environment itself, so that a damaged one can be written again

All are sealed (`latent_guard.files.sealed`). Runs of before lack them: there a file counts as good if it can be read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from latent_guard.bench.spec import Spec
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.checksums import Checksum
from latent_guard.files.documents import read_json, read_text
from latent_guard.files.sealed import read_sealed, sealed

SPEC, ENVIRONMENT = "spec.yaml", "environment.json"
# What an image and its record depend on; of the environment.
IDENTITY_KEYS = (
    *("bundle", "model", "pipeline", "guard", "guard_code"),
    *("prompts", "judge", "grader", "methods", "scheduler"),
)
CHECKSUMS, OF_RUN = "checksums", "run"


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
        raise InputError(f"{error}, so it is not known which run {path} holds; choose another folder") from error
    if text != asked:
        raise InputError(f"{path} holds a run of another spec (see {file}); choose another folder")


def require_made_by(path: Path, environment: Mapping[str, Any]) -> None:
    """Raise InputError for a run by another model: half of it by one and half by the other is figures of neither."""
    file = path / ENVIRONMENT
    before = _kept(path).get("environment")
    if before is None:
        before = read_json(file, "the environment") if file.exists() else {}
    if not isinstance(before, dict):
        raise InputError(f"{file} is damaged, so it is not known what {path} was begun with; choose another folder")
    if key := difference(before, environment):
        raise InputError(f"{path} was begun with another {key} (see {file}); choose another folder")


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first of `IDENTITY_KEYS` that two environments say differently; older ones say nothing of some."""
    return next((key for key in IDENTITY_KEYS if key in one and key in other and one[key] != other[key]), None)


def _kept(path: Path) -> dict[str, Any]:
    try:
        return read_checksums(path, OF_RUN) or {}
    except InputError:
        return {}


def write_checksums(run: Path, name: str, files: Mapping[str, bytes], **more: Any) -> None:
    """Keep those of files, by their path in the run; ``more`` is kept with them."""
    (run / CHECKSUMS).mkdir(parents=True, exist_ok=True)
    contents = {file: asdict(Checksum.of(content)) for file, content in files.items()}
    write_atomic(run / CHECKSUMS / f"{name}.json", sealed({"files": contents, **more}))


def read_checksums(run: Path, name: str) -> dict[str, Any] | None:
    """What was kept, ``files`` being the checksums by path; None: nothing.

    Raises:
        InputError: it is damaged.
    """
    path = run / CHECKSUMS / f"{name}.json"
    if not os.path.lexists(path):
        return None
    try:
        kept = read_sealed(path, "the checksums")
        found = {str(file): Checksum.from_dict(said) for file, said in kept["files"].items()}
        return {**kept, "files": {file: checksum for file, checksum in found.items() if checksum is not None}}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the checksums {path} are damaged") from error


def damage(run: Path, name: str) -> str | None:
    """What is wrong with files whose checksums were kept; None: nothing, or none were."""
    try:
        kept = read_checksums(run, name)
    except InputError as error:
        return str(error)
    files = kept["files"] if kept else {}
    return next(
        (f"{run / file} {wrong}" for file, found in files.items() if (wrong := found.problem(run / file))), None
    )
