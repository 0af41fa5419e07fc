"""What tells a run's damaged files from good ones.

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

from latent_guard.errors import InputError
from latent_guard.files.atomic import write_whole
from latent_guard.files.checksums import Checksum
from latent_guard.files.sealed import read_sealed, sealed

CHECKSUMS, OF_RUN = "checksums", "run"


def write_checksums(run: Path, name: str, files: Mapping[str, bytes], **more: Any) -> None:
    """Keep those of files, by their path in the run; ``more`` is kept with them."""
    (run / CHECKSUMS).mkdir(parents=True, exist_ok=True)
    told = {file: asdict(Checksum.of(content)) for file, content in files.items()}
    write_whole(run / CHECKSUMS / f"{name}.json", sealed({"files": told, **more}))


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
    return next((f"{run / file} {wrong}" for file, found in files.items() if (wrong := found.wrong(run / file))), None)
