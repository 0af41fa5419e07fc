"""Latent shards: raw latents and their captions in a folder, written once and read into memory.

index.json                 {"latent_space": {...}, "shards": [{"file": ..., "samples": ..., "size": ..., "sha256": ...,
                           "captions": {"size": ..., "sha256": ...}}]}, sealed (``latent_guard.files.sealed``)
shard-00000.safetensors    latents float16 (N, C, H, W), noise_levels float32 (N,)
shard-00000.jsonl          a line a sample: {"captions": ["...", ...]}

The shards of an index can also be the tars that ``latent-guard encode`` writes; such an index has dtype and tokenizer,
and no captions. An index of format 1 has no checksums: damage to such a folder cannot be detected. A folder of tars
from elsewhere (``webdataset``) has no index; there a file gives the latent space:

latent_space.json          {"name": "AutoencoderKL", "channels": 4, "factor": 8, "scaling_factor": 0.13025}
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.checksums import Checksum
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.data.checking import SETTINGS, fix_for

INDEX = "index.json"
SPACE = "latent_space.json"


@dataclass(frozen=True)
class LatentDataset:
    """Samples in memory.

    Attributes:
        latents: raw, float16 (N, C, H, W).
        noise_levels: float32 (N,), 0 for clean latents; see ``LatentCLIP.encode_latents``.
        captions: the captions of each sample, at least one.
        latent_space: the latent space of the latents.
    """

    latents: Tensor
    noise_levels: Tensor
    captions: list[tuple[str, ...]]
    latent_space: LatentSpace

    def __len__(self) -> int:
        return len(self.captions)


class ShardWriter:
    """A context manager that writes latents and captions into ``folder``.

    The index is written last, when the ``with`` block ends without an error: an interrupted writer leaves no index, and
    a folder without an index cannot be read.

    Raises:
        InputError: the folder already holds finished shards.
    """

    def __init__(self, folder: Path | str, latent_space: LatentSpace, samples_per_shard: int = 10_000) -> None:
        self.folder = Path(folder)
        self.latent_space = latent_space
        self.samples_per_shard = samples_per_shard
        if (self.folder / INDEX).exists():
            raise InputError(f"{self.folder} already holds latent shards; choose another folder or delete it")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._shards: list[dict[str, Any]] = []
        self._shape: torch.Size | None = None
        self._latents: list[Tensor] = []
        self._levels: list[Tensor] = []
        self._captions: list[list[str]] = []

    def add(self, latents: Tensor, captions: Sequence[Sequence[str]], noise_levels: Tensor | None = None) -> None:
        """Append raw latents (N, C, H, W), N lists of captions, and noise levels (N,), all clean by default.

        Raises:
            InputError: shapes or lengths do not fit, a latent is not finite in float16, a noise level is outside 0..1,
                or a sample has no caption or an empty one.
        """
        levels = torch.zeros(len(latents)) if noise_levels is None else noise_levels
        half = latents.detach().to("cpu", torch.float16)
        check_samples(half, levels, captions, self.latent_space, str(self.folder))
        if self._shape is not None and half.shape[1:] != self._shape:
            raise InputError(
                f"{self.folder}: latents of shape {tuple(half.shape[1:])} after others of {tuple(self._shape)}"
            )
        self._shape = half.shape[1:]
        self._latents.append(half)
        self._levels.append(levels.detach().to("cpu", torch.float32))
        self._captions.extend(list(texts) for texts in captions)
        while len(self._captions) >= self.samples_per_shard:
            self._flush(self.samples_per_shard)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        if self._captions:
            self._flush(len(self._captions))
        if not self._shards:
            raise InputError(f"{self.folder}: no samples were added")
        index = {"latent_space": self.latent_space.to_dict(), "shards": self._shards}
        write_atomic(self.folder / INDEX, sealed(index))

    def _flush(self, count: int) -> None:
        latents = torch.cat(self._latents)
        levels = torch.cat(self._levels)
        name = f"shard-{len(self._shards):05d}.safetensors"
        tensors = {"latents": latents[:count].contiguous(), "noise_levels": levels[:count].contiguous()}
        lines = (json.dumps({"captions": texts}) for texts in self._captions[:count])
        checksum = self._write(self.folder / name, save(tensors))
        captions = self._write(captions_path(self.folder / name), ("\n".join(lines) + "\n").encode())
        self._shards.append({"file": name, "samples": count, **checksum, "captions": captions})
        self._latents = [latents[count:]]
        self._levels = [levels[count:]]
        self._captions = self._captions[count:]

    def _write(self, path: Path, content: bytes) -> dict[str, Any]:
        write_atomic(path, content)
        return asdict(Checksum.of(content))


@dataclass(frozen=True)
class Index:
    """The index of a finished folder.

    Attributes:
        samples: number of samples of each shard file.
        checksums: checksums of all files; empty for folders of format 1.
        rest: the other entries of the index.
    """

    folder: Path
    latent_space: LatentSpace
    samples: Mapping[str, int]
    checksums: Mapping[str, Checksum]
    rest: Mapping[str, Any]

    @property
    def is_encoded(self) -> bool:
        """Whether ``latent-guard encode`` wrote the folder."""
        return all(Path(file).suffix == ".tar" for file in self.samples)


def read_index(folder: Path) -> Index:
    """Read a finished folder's index; raises as ``read_shards``, and warns if it has no checksums."""
    path = folder / INDEX
    if not path.exists() and (folder / SETTINGS).exists():
        raise InputError(f"{folder} is not finished; {fix_for(folder)}")
    if not path.exists():
        raise InputError(f"{folder} holds no finished latent shards: cannot read {INDEX}")
    try:
        index = read_sealed(path, "the index of latent shards")
    except InputError as error:
        raise InputError(f"{error}; {fix_for(folder)}") from error
    try:
        samples = dict(_shard(entry["file"], entry["samples"]) for entry in index["shards"])
        checksums = {file: checksum for entry in index["shards"] for file, checksum in _checksums(entry)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not an index of latent shards; {fix_for(folder)}") from error
    if "latent_space" not in index:
        raise InputError(f"{path} does not say which latent space its latents are of; write the shards again")
    if not checksums.keys() >= samples.keys():
        warnings.warn(
            f"{folder} was written before shards had checksums, so damage to them cannot be detected; to add them, "
            "write the shards again into a new folder",
            stacklevel=2,
        )
    space = build(LatentSpace, index["latent_space"], f"{path}: latent_space")
    return Index(folder, space, samples, checksums, index)


def _checksums(entry: Mapping[str, Any]) -> list[tuple[str, Checksum]]:
    """The checksums of an entry's shard, and of the file with its captions where it has one."""
    path = Path(entry["file"])
    stored = {path.name: entry, captions_path(path).name: entry.get("captions", {})}
    return [(file, checksum) for file, data in stored.items() if (checksum := Checksum.from_dict(data))]


def _shard(file: Any, samples: Any) -> tuple[str, int]:
    """Check an entry of an index; its file must be beside the index."""
    if not isinstance(file, str) or Path(file).name != file or not isinstance(samples, int) or samples < 1:
        raise ValueError(f"{file!r} with {samples!r} samples is no shard")
    return file, samples


def captions_path(shard: Path) -> Path:
    """The path of the captions of a safetensors shard."""
    return shard.with_suffix(".jsonl")


def check_samples(
    latents: Tensor, levels: Tensor, captions: Sequence[Sequence[str]], space: LatentSpace, where: str
) -> None:
    """Raise InputError, naming ``where``, for samples that ``ShardWriter.add`` refuses."""
    if latents.ndim != 4 or latents.shape[1] != space.channels:
        raise InputError(
            f"{where}: latents of shape {tuple(latents.shape)}; expected (N, C, H, W) "
            f"with the {space.channels} channels of {space.name}"
        )
    if not len(latents) == len(levels) == len(captions):
        raise InputError(f"{where}: {len(latents)} latents, {len(levels)} noise levels, {len(captions)} captions")
    if not latents.isfinite().all():
        raise InputError(f"{where}: a latent is not finite in float16")
    if not ((levels >= 0) & (levels <= 1)).all():
        raise InputError(f"{where}: a noise level is outside 0..1")
    for number, texts in enumerate(captions):
        if isinstance(texts, str) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise InputError(f"{where}: sample {number} has no caption, or one that is empty or not text")
