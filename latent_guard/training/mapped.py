"""Encoded tars as a training set that stays on the disk: rows in any order, gathered from mapped memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.training.shards import read_index
from latent_guard.training.tar_shards import LATENT, TOKENS, Manifest

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "I32": torch.int32}


@dataclass(frozen=True)
class Gathered:
    """latents of the dtype that is stored (B, C, H, W), token ids int32 (B, L)."""

    latents: Tensor
    ids: Tensor


class MappedShards:
    """The samples of folders that ``latent-guard encode`` wrote; none is read before it is asked for.

    Raises:
        InputError: no folder, one that is not finished or holds no such tars, or of several latent spaces.
    """

    def __init__(self, folders: Sequence[Path | str]) -> None:
        found = [(Path(folder), *read_index(Path(folder))) for folder in folders]
        if not found:
            raise InputError("no latent shards given; name at least one folder")
        first, space, _ = found[0]
        self.latent_space = space
        for folder, other, _ in found:
            if other != space:
                raise InputError(f"{folder} holds latents of {other}, {first} of {space}; never mix them")
        self._tars = [_MappedTar(folder / file) for folder, _, files in found for file in files]
        self._ends = np.array(list(accumulate(len(tar) for tar in self._tars)))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every latent."""
        return self._tars[0].layout.latent.shape  # type: ignore[return-value]

    def gather(self, rows: Iterable[int]) -> Gathered:
        """The samples numbered ``rows``, in that order.

        Raises:
            InputError: a tar is missing or damaged, or holds latents of another shape or dtype than the first.
        """
        wanted = np.fromiter(rows, dtype=np.int64)
        if not np.all((wanted >= 0) & (wanted < len(self))):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}")
        layout = self._tars[0].layout
        latents, ids = layout.latent.empty(len(wanted)), layout.tokens.empty(len(wanted))
        numbers = np.searchsorted(self._ends, wanted, side="right")
        places = wanted - np.where(numbers > 0, self._ends[numbers - 1], 0)
        for index, (number, place) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            self._tars[number].copy(place, layout, latents[index], ids[index])
        return Gathered(layout.latent.tensor(latents), layout.tokens.tensor(ids))


@dataclass(frozen=True)
class _Field:
    """Where a tensor lies in a safetensors member, counted from the member's first byte."""

    begin: int
    end: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def empty(self, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.empty((count, self.end - self.begin), dtype=np.uint8)

    def tensor(self, content: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        return torch.from_numpy(content).view(self.dtype).view(len(content), *self.shape)


@dataclass(frozen=True)
class _Layout:
    """A member's header, byte for byte (equal headers: equal layouts), and what it says."""

    header: bytes
    latent: _Field
    tokens: _Field


class _MappedTar:
    def __init__(self, path: Path) -> None:
        manifest = Manifest.read(path)
        if manifest is None:
            raise InputError(f"{path} has no manifest; only tars of `latent-guard encode` can be mapped")
        self._path, self._offsets = path, manifest.offsets

    def __len__(self) -> int:
        return len(self._offsets)

    @cached_property
    def _bytes(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        try:
            return np.memmap(self._path, dtype=np.uint8, mode="r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {self._path}; copy it again") from error

    @cached_property
    def layout(self) -> _Layout:
        """That of the first sample."""
        start = self._offsets[0]
        try:
            length = 8 + int.from_bytes(self._bytes[start : start + 8].tobytes(), "little")
            header = self._bytes[start : start + length].tobytes()
            said = json.loads(header[8:])
            return _Layout(header, _field(said[LATENT], length), _field(said[TOKENS], length))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self._path} is damaged; copy it again") from error

    def copy(
        self,
        place: int,
        layout: _Layout,
        latent: np.ndarray[Any, np.dtype[np.uint8]],
        tokens: np.ndarray[Any, np.dtype[np.uint8]],
    ) -> None:
        content, start = self._bytes, self._offsets[place]
        if content[start : start + len(layout.header)].tobytes() != layout.header:
            raise InputError(f"{self._path}, sample {place}: damaged, or of another shape or dtype than the first")
        try:
            latent[:] = content[start + layout.latent.begin : start + layout.latent.end]
            tokens[:] = content[start + layout.tokens.begin : start + layout.tokens.end]
        except ValueError as error:
            raise InputError(f"{self._path} is truncated; copy it again") from error


def _field(said: dict[str, Any], header: int) -> _Field:
    begin, end = said["data_offsets"]
    return _Field(header + begin, header + end, tuple(said["shape"]), _DTYPES[said["dtype"]])
