"""Encoded tars as a training set that stays on the disk: rows in any order, read from memory-mapped files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.data.checking import require_unchanged
from latent_guard.training.data.mapped_tar import MappedSamples, Shape, map_tar
from latent_guard.training.data.shards import INDEX, Index, read_index

_Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Gathered:
    """Samples read from the disk.

    Attributes:
        latents: (B, C, H, W), in the dtype in which they are stored.
        ids: token ids, int32 (B, L).
        replaced: number of requested samples whose latent is not finite; the next good sample stands in its place.
    """

    latents: Tensor
    ids: Tensor
    replaced: int = 0


@dataclass(frozen=True)
class TokenizerSize:
    """The vocabulary size of the tokenizer that made the token ids, and the number of ids of a caption."""

    vocab_size: int
    context_length: int


class MappedRows:
    """Samples with latents of one shape, in numbered rows; each is read on demand.

    Attributes:
        latent_space: the latent space of the latents.
        tokenizer: size of the tokenizer of the token ids.
    """

    def __init__(self, latent_space: LatentSpace, tokenizer: TokenizerSize, tars: Sequence[MappedSamples]) -> None:
        self.latent_space = latent_space
        self.tokenizer = tokenizer
        self._tars = tars
        self._ends = np.array(list(accumulate(map(len, tars))))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> Shape:
        """The shape (C, H, W) of every latent."""
        return self._tars[0].shape

    def gather(self, rows: Iterable[int]) -> Gathered:
        """Read the samples numbered ``rows``, in that order; a bad sample is replaced by the next good row's.

        Raises:
            InputError: a tar is missing or damaged, holds latents of another shape or dtype than the first, or no
                sample is good.
        """
        wanted = np.fromiter(rows, dtype=np.int64)
        if not np.all((wanted >= 0) & (wanted < len(self))):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}")
        latents, ids = self._read(wanted)
        bad = _not_finite(latents)
        replaced = len(bad)
        tries = 0
        while len(bad):
            tries += 1
            if tries > len(self):
                raise InputError(f"no latent near {self._tar_of(int(wanted[bad[0]]))} is finite; encode again")
            wanted[bad] = (wanted[bad] + 1) % len(self)
            latents[bad], ids[bad] = self._read(wanted[bad])
            bad = bad[_not_finite(latents[bad])]
        return Gathered(latents, ids, replaced)

    def _read(self, rows: _Rows) -> tuple[Tensor, Tensor]:
        """Latents (B, C, H, W) and token ids (B, L) of rows, good or bad."""
        layout = self._tars[0].layout
        latents = layout.latent.empty(len(rows))
        ids = layout.tokens.empty(len(rows))
        numbers = np.searchsorted(self._ends, rows, side="right")
        places = rows - np.where(numbers > 0, self._ends[numbers - 1], 0)
        for index, (number, place) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            self._tars[number].copy(place, layout, latents[index], ids[index])
        return layout.latent.tensor(latents), layout.tokens.tensor(ids)

    def _tar_of(self, row: int) -> Path:
        return self._tars[int(np.searchsorted(self._ends, row, side="right"))].path


class MappedShards(MappedRows):
    """The samples of folders that ``latent-guard encode`` wrote, as one set if all have one shape, else ``by_shape``.

    Raises:
        InputError: there is no folder; one is not finished, holds no such tars, or damaged ones; or the folders are of
            several latent spaces or tokenizers.
    """

    def __init__(self, folders: Sequence[Path | str], *, read_all: bool = True) -> None:
        """Open folders; ``read_all`` checks the whole content of their files the first time, not only their sizes."""
        indices = [read_index(Path(folder)) for folder in folders]
        if not indices:
            raise InputError("no latent shards given; name at least one folder")
        first = indices[0]
        for index in indices:
            _require_like(index, first)
        for index in indices:
            require_unchanged(index.folder, index.checksums, read_all=read_all)
        tars = [map_tar(index.folder / file, index.checksums.get(file)) for index in indices for file in index.samples]
        if not tars:
            raise InputError(f"{first.folder} holds no samples; encode again")
        super().__init__(first.latent_space, _tokenizer(first), list(chain.from_iterable(tars)))

    def by_shape(self) -> dict[Shape, MappedRows]:
        """The samples by their shape (C, H, W), the shapes in ascending order."""
        shapes = sorted({tar.shape for tar in self._tars})
        groups = {shape: [tar for tar in self._tars if tar.shape == shape] for shape in shapes}
        return {shape: MappedRows(self.latent_space, self.tokenizer, tars) for shape, tars in groups.items()}


def _require_like(index: Index, first: Index) -> None:
    """Raise InputError unless the samples of two folders can be one set."""
    if index.latent_space != first.latent_space:
        spaces = f"{index.folder} holds latents of {index.latent_space}, {first.folder} of {first.latent_space}"
        raise InputError(f"{spaces}; never mix them")
    pairs = [("latents in", "--dtype", index.rest.get("dtype"), first.rest.get("dtype"))]
    if index.is_encoded:
        pairs.append(("token ids of", "--tokenizer", _tokenizer(index), _tokenizer(first)))
    for kind, option, value, first_value in pairs:
        if value != first_value:
            difference = f"{index.folder} holds {kind} {value}, {first.folder} those {kind.split()[-1]} {first_value}"
            raise InputError(f"{difference}; encode both with one {option}")


def _tokenizer(index: Index) -> TokenizerSize:
    try:
        return build(TokenizerSize, index.rest.get("tokenizer"), f"{index.folder / INDEX}: tokenizer")
    except InputError as error:
        message = f"{index.folder / INDEX} does not say whose token ids its samples hold; encode again"
        raise InputError(message) from error


def _not_finite(latents: Tensor) -> _Rows:
    """Return the indices of latents (B, C, H, W) that hold a NaN or an infinity.

    Read as integers, their bits are the largest of either sign: this is ten times as fast as ``isfinite`` in half
    precision.
    """
    infinity = int(torch.tensor(torch.inf, dtype=latents.dtype).view(torch.int16))
    bits = latents.flatten(1).view(torch.int16).numpy()
    positive = bits.max(1)
    negative = bits.view(np.uint16).max(1)
    return np.flatnonzero((positive >= infinity) | (negative >= infinity + 0x8000))
