"""One encoded tar, mapped into memory: where its manifest says that samples lie, and what their headers say."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.files.checksums import Checksum
from latent_guard.files.documents import json_value
from latent_guard.training.data.checking import mend
from latent_guard.training.data.tar_shards import LATENT, TOKENS, Manifest

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Shape = tuple[int, int, int]

_OPEN_FILES = 256  # of each process at once; a set has more tars than a process may open
_LONGEST_HEADER = 1 << 16  # bytes; of two tensors it has some hundred
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}


@dataclass(frozen=True)
class Field:
    """Where a tensor lies in a safetensors member, counted from the member's first byte."""

    begin: int
    end: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, said: dict[str, Any], header: int) -> Field:
        """From what a header of so many bytes says of the tensor."""
        begin, end = said["data_offsets"]
        shape, dtype = tuple(map(operator.index, said["shape"])), _DTYPES[said["dtype"]]
        if begin < 0 or min(shape, default=0) < 0 or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError("a tensor whose bytes are not as many as its shape says")
        return cls(header + begin, header + end, shape, dtype)

    def empty(self, count: int) -> Bytes:
        """Room for so many, a row each."""
        return np.empty((count, self.end - self.begin), dtype=np.uint8)

    def tensor(self, content: Bytes) -> Tensor:
        """What was copied into that room."""
        return torch.from_numpy(content).view(self.dtype).view(len(content), *self.shape)


@dataclass(frozen=True)
class Layout:
    """A member's header, byte for byte (equal headers: equal layouts), and what it says."""

    header: bytes
    latent: Field
    tokens: Field


class TarSamples:
    """The samples of a tar whose latents are of one shape."""

    def __init__(self, file: _MappedFile, shape: Shape, offsets: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.shape = shape
        self._file, self._offsets = file, offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def path(self) -> Path:
        """The tar's."""
        return self._file.path

    @cached_property
    def layout(self) -> Layout:
        """That of the first sample.

        Raises:
            InputError: the tar is missing or damaged.
        """
        return self._file.layout(int(self._offsets[0]))

    def copy(self, place: int, layout: Layout, latent: Bytes, tokens: Bytes) -> None:
        """Copy a sample's bytes into ``latent`` and ``tokens``.

        Raises:
            InputError: the tar is missing or damaged, or the sample is laid out otherwise.
        """
        content, start = self._file.content, int(self._offsets[place])
        if content[start : start + len(layout.header)].tobytes() != layout.header:
            raise InputError(
                f"{self.path}, sample {place}: damaged, or of another shape or dtype; {mend(self.path.parent)}"
            )
        try:
            latent[:] = content[start + layout.latent.begin : start + layout.latent.end]
            tokens[:] = content[start + layout.tokens.begin : start + layout.tokens.end]
        except ValueError as error:
            raise InputError(f"{self.path} is truncated; {mend(self.path.parent)}") from error


def map_tar(path: Path, checksum: Checksum | None = None) -> list[TarSamples]:
    """A tar's samples by shape, in the order in which the shapes first come. Only its manifest is read.

    Raises:
        InputError: no manifest, a damaged one, or that of a tar with another checksum; or the tar is missing or too
            short.
    """
    try:
        manifest = Manifest.read(path)
    except InputError as error:
        raise InputError(f"{error}; {mend(path.parent)}") from error
    if manifest is None:
        raise InputError(
            f"{path} has no manifest; only tars of `latent-guard encode` can be mapped; {mend(path.parent)}"
        )
    if manifest.checksum != checksum:
        raise InputError(f"{path} has the manifest of another tar; {mend(path.parent)}")
    file, offsets = _MappedFile(path), np.array(manifest.offsets, dtype=np.int64)
    _require_whole(path, int(offsets.max(initial=0)))
    if not manifest.shapes:
        return [TarSamples(file, _shape(file.layout(int(offsets[0])).latent.shape), offsets)]
    runs = np.repeat(np.arange(len(manifest.shapes)), [samples for samples, *_ in manifest.shapes])
    of_shape: dict[Shape, list[int]] = {}
    for run, (_, *shape) in enumerate(manifest.shapes):
        of_shape.setdefault(_shape(shape), []).append(run)
    return [TarSamples(file, shape, offsets[np.isin(runs, mine)]) for shape, mine in of_shape.items()]


def _shape(said: list[int] | tuple[int, ...]) -> Shape:
    channels, height, width = said
    return channels, height, width


def _require_whole(path: Path, last: int) -> None:
    """Find a missing or cut tar when it is opened, not when a sample of it is drawn hours later."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); {mend(path.parent)}") from error
    if size <= last:
        raise InputError(f"{path} is truncated; {mend(path.parent)}")


@lru_cache(maxsize=_OPEN_FILES)
def _content(path: Path) -> Bytes:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} ({error}); {mend(path.parent)}, or free memory and file handles"
        ) from error


class _MappedFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def content(self) -> Bytes:
        return _content(self.path)

    def layout(self, start: int) -> Layout:
        """That of the sample whose header begins at ``start``."""
        try:
            length = 8 + int.from_bytes(self.content[start : start + 8].tobytes(), "little")
            header = self.content[start : start + length].tobytes()
            said = json_value(header[8:] if length <= _LONGEST_HEADER else b"", str(self.path))
            return Layout(header, Field.of(said[LATENT], length), Field.of(said[TOKENS], length))
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged; {mend(self.path.parent)}") from error
