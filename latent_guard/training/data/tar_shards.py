"""Latent shards as webdataset tars, which ``datasets`` and webdataset readers open.

NAME.tar, three members a sample:
    KEY.safetensors    latent float16 or bfloat16 (C, H, W), raw; tokens int32 (L,)
    KEY.txt            the caption
    KEY.json           {"key": the source's own key, "latent_space": {...}}
manifests/NAME.json    {"samples": N, "offsets": [...], "bad": [{"key": ..., "row": ..., "reason": ...}],
                        "shapes": [[samples in a row, C, H, W], ...], "size": bytes of the tar, "sha256": its hash},
                        sealed (``latent_guard.files.sealed``)

KEY is the sample's place in its source, and unique. The manifest is written last: a tar without one is unfinished, and
is written again. Offsets are those of the safetensors members, so that a reader need not search. Older manifests have
no shapes (all samples then have the first one's), and still older ones no checksum.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.checksums import Checksum, HashedFile
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.latent_space import LatentSpace

MANIFESTS = "manifests"
LATENT = "latent"
TOKENS = "tokens"


@dataclass(frozen=True)
class Manifest:
    """The contents of one finished tar. ``samples`` can be 0: then there is no tar. Old ones have no ``checksum``."""

    samples: int
    offsets: list[int] = field(repr=False)
    bad: list[dict[str, Any]]
    shapes: list[list[int]] = field(repr=False, default_factory=list)
    checksum: Checksum | None = None

    @classmethod
    def read(cls, tar: Path) -> Manifest | None:
        """Read the manifest of a tar; None if the tar was never finished.

        Raises:
            InputError: the manifest is damaged.
        """
        path = manifest_path(tar)
        if not os.path.lexists(path):
            return None
        try:
            data = read_sealed(path, "the manifest")
            known = {name: data[name] for name in ("samples", "offsets", "bad", "shapes") if name in data}
            manifest = replace(build(cls, known, str(path)), checksum=Checksum.from_dict(data))
            manifest._check()
        except (InputError, ValueError) as error:
            raise InputError(f"the manifest {path} is damaged ({error})") from error
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """The manifest as plain data, as ``read`` takes it."""
        contents = {"samples": self.samples, "offsets": self.offsets, "bad": self.bad, "shapes": self.shapes}
        return {**contents, **(asdict(self.checksum) if self.checksum else {})}

    def _check(self) -> None:
        """Raise InputError for numbers that contradict each other, or cannot be those of a tar."""
        if self.samples != len(self.offsets) or min(self.offsets, default=0) < 0:
            raise InputError("its offsets are not those of its samples")
        if any(len(run) != 4 or min(run) < 1 for run in self.shapes):
            raise InputError("a shape is not four numbers over 0")
        if self.shapes and sum(run[0] for run in self.shapes) != self.samples:
            raise InputError("its shapes are not those of its samples")


def manifest_path(tar: Path) -> Path:
    """The path of the manifest of ``tar``."""
    return tar.parent / MANIFESTS / (tar.stem + ".json")


class TarShardWriter:
    """A context manager that writes one tar and its manifest atomically.

    Of two writers of the same tar the later one wins; the other ends with an error. The file system's errors (OSError:
    the disk is full) are raised as they are.
    """

    def __init__(self, tar: Path, latent_space: LatentSpace) -> None:
        self.tar = tar
        self.partial = tar.with_name(tar.name + ".part")
        self._space = latent_space.to_dict()
        self._offsets: list[int] = []
        self._bad: list[dict[str, Any]] = []
        self._shapes: list[list[int]] = []

    def add(self, name: str, key: str, latent: Tensor, tokens: Tensor, caption: str) -> None:
        """Append a sample: latent (C, H, W) in the dtype to be stored, and token ids (L,) of any integer type."""
        tensors = {LATENT: latent.contiguous(), TOKENS: tokens.int().contiguous()}
        self._offsets.append(self._member(f"{name}.safetensors", safetensors.torch.save(tensors)))
        self._member(f"{name}.txt", caption.encode())
        about = {"key": key, "latent_space": self._space}
        self._member(f"{name}.json", json.dumps(about).encode())
        if not self._shapes or self._shapes[-1][1:] != list(latent.shape):
            self._shapes.append([0, *latent.shape])
        self._shapes[-1][0] += 1

    def add_bad(self, key: str, row: int, reason: str) -> None:
        """Record a row of the source that gave no sample."""
        self._bad.append({"key": key, "row": row, "reason": reason})

    def __enter__(self) -> TarShardWriter:
        self._file = open_for_writing(self.partial)
        self._identity = os.fstat(self._file.fileno())
        self._hashed = HashedFile(self._file)
        self._archive = tarfile.open(fileobj=self._hashed, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]  # writes, and tells where it is
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._abandon()

    def _finish(self) -> None:
        self._archive.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._is_ours():
            raise OSError(errno.EBUSY, f"another process writes {self.tar.name} too")
        if self._offsets:
            os.replace(self.partial, self.tar)
        manifest_path(self.tar).parent.mkdir(exist_ok=True)
        checksum = self._hashed.checksum if self._offsets else None
        manifest = Manifest(len(self._offsets), self._offsets, self._bad, self._shapes, checksum)
        write_atomic(manifest_path(self.tar), sealed(manifest.to_dict()))

    def _abandon(self) -> None:
        with suppress(OSError):  # buffered bytes that do not fit on the disk are of no use
            self._file.close()
        if self._is_ours():
            self.partial.unlink()

    def _is_ours(self) -> bool:
        """Whether the unfinished tar of that name is the one that this writer began."""
        try:
            return os.path.samestat(self._identity, os.stat(self.partial))
        except FileNotFoundError:
            return False

    def _member(self, name: str, content: bytes) -> int:
        """Append a file; returns the offset of its content."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        offset = self._archive.offset + tarfile.BLOCKSIZE
        self._archive.addfile(info, io.BytesIO(content))
        return int(offset)


def open_for_writing(path: Path) -> BinaryIO:
    """Open a tar for writing; a file that a killed run or another process began is replaced, never written into."""
    path.unlink(missing_ok=True)
    return open(path, "xb", buffering=1 << 20)


def check_whole(path: Path) -> None:
    """Check that a tar ends in two empty blocks: a reader of tars may take a truncated one for complete.

    Raises:
        InputError: the tar is truncated or cannot be read.
    """
    end = 2 * tarfile.BLOCKSIZE
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - end))
            whole = file.read() == bytes(end)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from error
    if not whole:
        raise InputError(f"{path} is truncated or no tar; copy it again, or delete it")
