"""A folder's manifest: the SHA-256 of each of its files, by which damage and mix-ups are told by name.

It is no signature: who can change a file can change the manifest too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from latent_guard.errors import CheckpointError, InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.checksums import Checksum
from latent_guard.files.documents import read_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path, files: Mapping[str, Path] | None = None) -> None:
    """Record the SHA-256 of a folder's files: of all that lie in it, or of those that will, by where they lie now."""
    chosen = files or {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    digests = {name: Checksum.of_file(path).sha256 for name, path in sorted(chosen.items())}
    write_atomic(folder / MANIFEST, (json.dumps(digests, indent=1) + "\n").encode())


def verify(
    folder: Path, mend: str, *, only_these: bool = False, wanted: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Compare the files that the manifest names with their SHA-256; ``mend`` ends the message.

    Args:
        folder: where they lie.
        mend: what helps if they are not as they should be.
        only_these: nothing else may lie in the folder.
        wanted: whether a file of this name is compared; by default all are.

    Returns:
        The names that the manifest has.

    Raises:
        CheckpointError: the manifest or a file is missing, or a file is not what the manifest says.
    """
    digests = _read(folder, mend)
    for name, digest in digests.items():
        if not wanted(name):
            continue
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; {mend}")
        if Checksum.of_file(path).sha256 != digest:
            raise CheckpointError(f"{path} is not the file that its manifest names (the SHA-256 differs); {mend}")
    if only_these:
        for path in files_of(folder):
            if path.relative_to(folder).as_posix() not in digests:
                raise CheckpointError(f"{path} does not belong there; {mend}")
    return list(digests)


def files_of(folder: Path) -> list[Path]:
    """All files below a folder but its own manifest."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _read(folder: Path, mend: str) -> dict[str, str]:
    try:
        digests = read_json(folder / MANIFEST, "the manifest")
    except InputError as error:
        raise CheckpointError(f"{error}; {mend}") from error
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise CheckpointError(f"{folder / MANIFEST} is damaged; {mend}")
    for name in digests:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder / MANIFEST} names {name!r}, which lies elsewhere; {mend}")
    return digests
