"""One encoded tar, mapped into memory: the samples at the offsets of its manifest, and their headers."""

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
from latent_guard.training.data.checking import fix_for
from latent_guard.training.data.tar_shards import LATENT, TOKENS, Manifest

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Shape = tuple[int, int, int]

_MAX_OPEN_FILES = 256  # a set has more tars than a process may open at once
_MAX_HEADER = 1 << 16  # bytes; a header of two tensors has some hundred
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}


@dataclass(frozen=True)
class Field:
    """The place of a tensor in a safetensors member, counted from the member's first byte."""

    begin: int
    end: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, entry: dict[str, Any], header: int) -> Field:
        """Read a tensor's entry in a header of ``header`` bytes."""
        begin, end = entry["data_offsets"]
        shape = tuple(map(operator.index, entry["shape"]))
        dtype = _DTYPES[entry["dtype"]]
        if begin < 0 or min(shape, default=0) < 0 or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError("a tensor whose bytes are not as many as its shape says")
        return cls(header + begin, header + end, shape, dtype)

    def empty(self, count: int) -> Bytes:
        """Allocate memory for the bytes of ``count`` tensors, a row each."""
        return np.empty((count, self.end - self.begin), dtype=np.uint8)

    def tensor(self, content: Bytes) -> Tensor:
        """View copied bytes, a row each, as tensors."""
        return torch.from_numpy(content).view(self.dtype).view(len(content), *self.shape)


@dataclass(frozen=True)
class Layout:
    """A member's header, byte for byte (equal headers: equal layouts), and what it says."""

    header: bytes
    latent: Field
    tokens: Field


class MappedSamples:
    """The samples of a mapped tar whose latents have one shape."""

    def __init__(self, file: _MappedFile, shape: Shape, offsets: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.shape = shape
        self._file = file
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def path(self) -> Path:
        """The path of the tar."""
        return self._file.path

    @cached_property
    def layout(self) -> Layout:
        """The layout of the first sample.

        Raises:
            InputError: the tar is missing or damaged.
        """
        return self._file.layout(int(self._offsets[0]))

    def copy(self, place: int, layout: Layout, latent: Bytes, tokens: Bytes) -> None:
        """Copy the bytes of sample ``place`` into ``latent`` and ``tokens``.

        Raises:
            InputError: the tar is missing or damaged, or the sample has another layout.
        """
        content = self._file.content
        start = int(self._offsets[place])
        if content[start : start + len(layout.header)].tobytes() != layout.header:
            raise InputError(
                f"{self.path}, sample {place}: damaged, or of another shape or dtype; {fix_for(self.path.parent)}"
            )
        try:
            latent[:] = content[start + layout.latent.begin : start + layout.latent.end]
            tokens[:] = content[start + layout.tokens.begin : start + layout.tokens.end]
        except ValueError as error:
            raise InputError(f"{self.path} is truncated; {fix_for(self.path.parent)}") from error


def map_tar(path: Path, checksum: Checksum | None = None) -> list[MappedSamples]:
    """Map a tar's samples, grouped by shape in order of first appearance. Only its manifest is read.

    Raises:
        InputError: the manifest is missing, damaged, or that of a tar with another checksum; or the tar is missing or
            too short.
    """
    try:
        manifest = Manifest.read(path)
    except InputError as error:
        raise InputError(f"{error}; {fix_for(path.parent)}") from error
    if manifest is None:
        raise InputError(
            f"{path} has no manifest; only tars of `latent-guard encode` can be mapped; {fix_for(path.parent)}"
        )
    if manifest.checksum != checksum:
        raise InputError(f"{path} has the manifest of another tar; {fix_for(path.parent)}")
    file = _MappedFile(path)
    offsets = np.array(manifest.offsets, dtype=np.int64)
    _require_whole(path, int(offsets.max(initial=0)))
    if not manifest.shapes:
        return [MappedSamples(file, _shape(file.layout(int(offsets[0])).latent.shape), offsets)]
    runs = np.repeat(np.arange(len(manifest.shapes)), [samples for samples, *_ in manifest.shapes])
    runs_by_shape: dict[Shape, list[int]] = {}
    for run, (_, *shape) in enumerate(manifest.shapes):
        runs_by_shape.setdefault(_shape(shape), []).append(run)
    return [MappedSamples(file, shape, offsets[np.isin(runs, same)]) for shape, same in runs_by_shape.items()]


def _shape(numbers: list[int] | tuple[int, ...]) -> Shape:
    channels, height, width = numbers
    return channels, height, width


def _require_whole(path: Path, last: int) -> None:
    """Raise InputError for a missing or truncated tar now, not when a sample of it is drawn hours later."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); {fix_for(path.parent)}") from error
    if size <= last:
        raise InputError(f"{path} is truncated; {fix_for(path.parent)}")


@lru_cache(maxsize=_MAX_OPEN_FILES)
def _content(path: Path) -> Bytes:
    try:
        return np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} ({error}); {fix_for(path.parent)}, or free memory and file handles"
        ) from error


class _MappedFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def content(self) -> Bytes:
        return _content(self.path)

    def layout(self, start: int) -> Layout:
        """The layout of the sample whose header begins at ``start``."""
        try:
            length = 8 + int.from_bytes(self.content[start : start + 8].tobytes(), "little")
            header = self.content[start : start + length].tobytes()
            entries = json_value(header[8:] if length <= _MAX_HEADER else b"", str(self.path))
            return Layout(header, Field.of(entries[LATENT], length), Field.of(entries[TOKENS], length))
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged; {fix_for(self.path.parent)}") from error
