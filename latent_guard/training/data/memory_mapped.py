"""Encoded tars as a training set that stays on the disk: rows in any order, gathered from mapped memory."""

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
from latent_guard.training.data.memory_mapped_tar import Shape, TarSamples, map_tar
from latent_guard.training.data.shards import INDEX, Index, read_index

_Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Gathered:
    """latents of the dtype that is stored (B, C, H, W), token ids int32 (B, L).

    ``replaced`` of the samples asked for have a latent that is not finite; in each one's place is the next good one.
    """

    latents: Tensor
    ids: Tensor
    replaced: int = 0


@dataclass(frozen=True)
class TokenizerSize:
    """Of the tokenizer that made the token ids: how many tokens it knows, and how many ids a caption has."""

    vocab_size: int
    context_length: int


class MappedRows:
    """Samples whose latents are of one shape, in numbered rows; none is read before it is asked for.

    Attributes:
        latent_space: whose latents they are.
        tokenizer: whose token ids.
    """

    def __init__(self, latent_space: LatentSpace, tokenizer: TokenizerSize, tars: Sequence[TarSamples]) -> None:
        self.latent_space, self.tokenizer = latent_space, tokenizer
        self._tars = tars
        self._ends = np.array(list(accumulate(map(len, tars))))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> Shape:
        """(C, H, W) of every latent."""
        return self._tars[0].shape

    def gather(self, rows: Iterable[int]) -> Gathered:
        """The samples numbered ``rows``, in that order; a bad one gives way to the next row's, and so on.

        Raises:
            InputError: a tar is missing or damaged, holds latents of another shape or dtype than the first, or none
                of the samples is good.
        """
        wanted = np.fromiter(rows, dtype=np.int64)
        if not np.all((wanted >= 0) & (wanted < len(self))):
            raise IndexError(f"rows must lie in 0..{len(self) - 1}")
        found = self._read(wanted)
        bad = _not_finite(found.latents)
        replaced, tries = len(bad), 0
        while len(bad):
            if (tries := tries + 1) > len(self):
                raise InputError(f"no latent near {self._tar_of(int(wanted[bad[0]]))} is finite; encode again")
            wanted[bad] = (wanted[bad] + 1) % len(self)
            other = self._read(wanted[bad])
            found.latents[bad], found.ids[bad] = other.latents, other.ids
            bad = bad[_not_finite(other.latents)]
        return Gathered(found.latents, found.ids, replaced)

    def _read(self, rows: _Rows) -> Gathered:
        layout = self._tars[0].layout
        latents, ids = layout.latent.empty(len(rows)), layout.tokens.empty(len(rows))
        numbers = np.searchsorted(self._ends, rows, side="right")
        places = rows - np.where(numbers > 0, self._ends[numbers - 1], 0)
        for index, (number, place) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
            self._tars[number].copy(place, layout, latents[index], ids[index])
        return Gathered(layout.latent.tensor(latents), layout.tokens.tensor(ids))

    def _tar_of(self, row: int) -> Path:
        return self._tars[int(np.searchsorted(self._ends, row, side="right"))].path


class MappedShards(MappedRows):
    """The samples of folders that ``latent-guard encode`` wrote: as one set where all are of one shape, else by shape.

    Raises:
        InputError: no folder, one that is not finished, holds no such tars or damaged ones, or of several latent spaces
            or tokenizers.
    """

    def __init__(self, folders: Sequence[Path | str], *, thorough: bool = True) -> None:
        """``thorough``: not only the files' sizes are looked at, but all of their content, the first time."""
        found = [read_index(Path(folder)) for folder in folders]
        if not found:
            raise InputError("no latent shards given; name at least one folder")
        first = found[0]
        for index in found:
            _require_like(index, first)
        for index in found:
            require_unchanged(index.folder, index.checksums, thorough=thorough)
        tars = [map_tar(index.folder / file, index.checksums.get(file)) for index in found for file in index.samples]
        if not tars:
            raise InputError(f"{first.folder} holds no samples; encode again")
        super().__init__(first.latent_space, _tokenizer(first), list(chain.from_iterable(tars)))

    def by_shape(self) -> dict[Shape, MappedRows]:
        """The samples of each shape (C, H, W), the shapes in ascending order."""
        shapes = sorted({tar.shape for tar in self._tars})
        of_shape = {shape: [tar for tar in self._tars if tar.shape == shape] for shape in shapes}
        return {shape: MappedRows(self.latent_space, self.tokenizer, tars) for shape, tars in of_shape.items()}


def _require_like(index: Index, first: Index) -> None:
    """Raise InputError unless the samples of two folders can be one set."""
    one, other = index.latent_space, first.latent_space
    if one != other:
        raise InputError(f"{index.folder} holds latents of {one}, {first.folder} of {other}; never mix them")
    pairs = [("latents in", "--dtype", index.rest.get("dtype"), first.rest.get("dtype"))]
    if index.is_encoded:
        pairs.append(("token ids of", "--tokenizer", _tokenizer(index), _tokenizer(first)))
    for what, option, own, others in pairs:
        if own != others:
            told = f"{index.folder} holds {what} {own}, {first.folder} those {what.split()[-1]} {others}"
            raise InputError(f"{told}; encode both with one {option}")


def _tokenizer(index: Index) -> TokenizerSize:
    try:
        return build(TokenizerSize, index.rest.get("tokenizer"), f"{index.folder / INDEX}: tokenizer")
    except InputError as error:
        message = f"{index.folder / INDEX} does not say whose token ids its samples hold; encode again"
        raise InputError(message) from error


def _not_finite(latents: Tensor) -> _Rows:
    """Which of them (B, C, H, W) hold a NaN or an infinity.

    Their bits, read as integers, are the largest of either sign: ten times as fast as ``isfinite`` in half precision.
    """
    infinity = int(torch.tensor(torch.inf, dtype=latents.dtype).view(torch.int16))
    bits = latents.flatten(1).view(torch.int16).numpy()
    positive, negative = bits.max(1), bits.view(np.uint16).max(1)
    return np.flatnonzero((positive >= infinity) | (negative >= infinity + 0x8000))
