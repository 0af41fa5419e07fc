"""The training data of a run: folders of latent shards, as buckets of samples of one shape."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.training.data.batches import Batch, Bucket
from latent_guard.training.data.in_memory import read_by_shape
from latent_guard.training.data.mapped_shards import MappedRows, MappedShards, TokenizerSize
from latent_guard.training.data.shards import INDEX, LatentDataset, read_index

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

logger = logging.getLogger(__name__)
_TEXTS_AT_A_TIME = 10_000
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class TrainingData:
    """Opened folders: those written by ``latent-guard encode`` stay on the disk, others are read into memory.

    Attributes:
        tokenizer: size of the tokenizer of stored token ids; None where captions are stored as text only.
    """

    latent_space: LatentSpace
    in_memory: Mapping[Shape, LatentDataset]
    mapped: Mapping[Shape, MappedRows]
    tokenizer: TokenizerSize | None

    @classmethod
    def open(cls, folders: Sequence[Path | str], *, read_all: bool = True) -> TrainingData:
        """Open folders; ``read_all`` is ``MappedShards``'s.

        Raises:
            InputError: a folder cannot be read (as ``read_shards`` and ``MappedShards`` say), or the folders are of
                several latent spaces.
        """
        encoded = [folder for folder in folders if _is_encoded(Path(folder))]
        small = [folder for folder in folders if folder not in encoded]
        in_memory = read_by_shape(small) if small or not encoded else {}
        shards = MappedShards(encoded, read_all=read_all) if encoded else None
        spaces = [dataset.latent_space for dataset in in_memory.values()] + ([shards.latent_space] if shards else [])
        if any(space != spaces[0] for space in spaces):
            raise InputError(f"{encoded[0]} holds latents of {spaces[-1]}, {small[0]} of {spaces[0]}; never mix them")
        return cls(spaces[0], in_memory, shards.by_shape() if shards else {}, shards.tokenizer if shards else None)

    @property
    def has_noise(self) -> bool:
        """Whether some of the latents are clean estimates from noisy states."""
        return any(bool(dataset.noise_levels.any()) for dataset in self.in_memory.values())

    @property
    def shapes(self) -> dict[Shape, int]:
        """The number of samples of each shape."""
        counts = Counter({shape: len(dataset) for shape, dataset in self.in_memory.items()})
        counts.update({shape: len(rows) for shape, rows in self.mapped.items()})
        return dict(counts)

    def buckets(self, tokenizer: CLIPTokenizer) -> list[Bucket]:
        """The samples with token ids of the model's tokenizer; the shape with the most samples comes first."""
        buckets: list[Bucket] = [MemoryBucket.of(dataset, tokenizer) for dataset in self.in_memory.values()]
        buckets += [MappedBucket(rows, tokenizer.eos_token_id) for rows in self.mapped.values()]
        return sorted(buckets, key=len, reverse=True)


def _is_encoded(folder: Path) -> bool:
    return (folder / INDEX).exists() and read_index(folder).is_encoded


@dataclass
class MemoryBucket:
    """A dataset in memory, tokenised once.

    Sample i's captions are ``caption_of[first[i] : first[i] + count[i]]``, indices into ``ids``, the token ids of all
    distinct captions.
    """

    latents: Tensor
    noise_levels: Tensor
    ids: Tensor
    end_token: int
    caption_of: Tensor
    first: Tensor
    count: Tensor
    replaced: int = 0  # samples are checked when they are read

    @classmethod
    def of(cls, dataset: LatentDataset, tokenizer: CLIPTokenizer) -> MemoryBucket:
        """Make a bucket of a dataset; every distinct caption is tokenised once."""
        number: dict[str, int] = {}
        caption_of = [number.setdefault(text, len(number)) for texts in dataset.captions for text in texts]
        distinct = list(number)
        chunks = [distinct[i : i + _TEXTS_AT_A_TIME] for i in range(0, len(distinct), _TEXTS_AT_A_TIME)]
        ids = torch.cat([tokenize(tokenizer, chunk) for chunk in chunks])
        count = torch.tensor([len(texts) for texts in dataset.captions])
        return cls(
            latents=dataset.latents.contiguous(),
            noise_levels=dataset.noise_levels,
            ids=ids,
            end_token=tokenizer.eos_token_id,
            caption_of=torch.tensor(caption_of),
            first=count.cumsum(0) - count,
            count=count,
        )

    @property
    def shape(self) -> Shape:
        return tuple(self.latents.shape[1:])  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.count)

    def draw(self, rows: Tensor, choice: Tensor) -> Batch:
        captions = self.caption_of[self.first[rows] + (choice * self.count[rows]).long()]
        return Batch.of(self.latents[rows], self.noise_levels[rows], self.ids[captions], self.end_token)


@dataclass
class MappedBucket:
    """Encoded samples of one shape; each has one caption, and its latent is clean."""

    rows: MappedRows
    end_token: int
    replaced: int = 0

    @property
    def shape(self) -> Shape:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, rows: Tensor, choice: Tensor) -> Batch:
        samples = self.rows.gather(rows.tolist())
        if samples.replaced and not self.replaced:
            logger.warning("some latents are not finite; others take their places (encode those images again)")
        self.replaced += samples.replaced
        return Batch.of(samples.latents, torch.zeros(len(rows)), samples.ids.long(), self.end_token)
