"""Latent shards: raw latents and their captions in a folder, written once and read whole into memory.

index.json                 {"format": 1, "latent_space": {...}, "shards": [{"file": ..., "samples": ...}]}
shard-00000.safetensors    latents float16 (N, C, H, W), noise_levels float32 (N,)
shard-00000.jsonl          a line a sample: {"captions": ["...", ...]}

The shards of an index can also be the tars that ``latent-guard encode`` writes. A folder of other people's tars
(``tar_reading``) has no index; there a file says whose latents they are:

latent_space.json          {"name": "AutoencoderKL", "channels": 4, "factor": 8, "scaling_factor": 0.13025}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.latent_clip.config import build
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.training.tar_reading import read_tar

FORMAT = 1
INDEX, SPACE = "index.json", "latent_space.json"


@dataclass(frozen=True)
class LatentDataset:
    """Samples in memory.

    Attributes:
        latents: raw, float16 (N, C, H, W).
        noise_levels: float32 (N,), 0 for clean; see ``LatentCLIP.encode_latents``.
        captions: each sample's captions, at least one.
        latent_space: whose latents they are.
    """

    latents: Tensor
    noise_levels: Tensor
    captions: list[tuple[str, ...]]
    latent_space: LatentSpace

    def __len__(self) -> int:
        return len(self.captions)


class ShardWriter:
    """Write latents and captions into ``folder``; a context manager.

    The index is written last, when the ``with`` block ends without an error: an interrupted writer leaves none, and
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
            InputError: shapes or lengths that do not fit, latents that are not finite in float16, a noise level
                outside 0..1, a sample without a caption or with an empty one.
        """
        levels = torch.zeros(len(latents)) if noise_levels is None else noise_levels
        half = latents.detach().to("cpu", torch.float16)
        _check_samples(half, levels, captions, self.latent_space, str(self.folder))
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
        index = {"format": FORMAT, "latent_space": self.latent_space.to_dict(), "shards": self._shards}
        partial = self.folder / (INDEX + ".part")
        partial.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / INDEX)

    def _flush(self, count: int) -> None:
        latents, levels = torch.cat(self._latents), torch.cat(self._levels)
        name = f"shard-{len(self._shards):05d}.safetensors"
        tensors = {"latents": latents[:count].contiguous(), "noise_levels": levels[:count].contiguous()}
        save_file(tensors, self.folder / name)
        lines = (json.dumps({"captions": texts}) for texts in self._captions[:count])
        _captions_path(self.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._shards.append({"file": name, "samples": count})
        self._latents, self._levels, self._captions = [latents[count:]], [levels[count:]], self._captions[count:]


def read_shards(folders: Iterable[Path | str]) -> LatentDataset:
    """All samples of one or more shard folders of the same latent space and shape.

    Raises:
        InputError: no folder, a missing or damaged file, another latent space, or samples that ``ShardWriter.add``
            would refuse.
    """
    found = [(path, *_contents(path)) for path in (Path(folder) for folder in folders)]
    if not found:
        raise InputError("no latent shards given; name at least one folder")
    first, space, _ = found[0]
    for path, other, _ in found:
        if other != space:
            raise InputError(f"{path} holds latents of {other}, {first} those of {space}; they cannot be mixed")
    parts = [_read_shard(path / file, samples, space) for path, _, shards in found for file, samples in shards.items()]
    if len(shapes := {tuple(latents.shape[1:]) for latents, _, _ in parts}) > 1:
        raise InputError(f"latents of several shapes cannot be mixed: {', '.join(map(str, sorted(shapes)))}")
    return LatentDataset(
        latents=torch.cat([latents for latents, _, _ in parts]),
        noise_levels=torch.cat([levels for _, levels, _ in parts]),
        captions=[texts for _, _, captions in parts for texts in captions],
        latent_space=space,
    )


def _contents(folder: Path) -> tuple[LatentSpace, dict[str, int | None]]:
    """The latent space of a folder, and its shards' files with their samples; None where nothing says how many."""
    tars = sorted(path.name for path in folder.glob("*.tar"))
    if (folder / INDEX).exists() or not tars:
        return read_index(folder)
    if (folder / "encode.json").exists():
        raise InputError(f"{folder} is not finished; run the same `latent-guard encode` again")
    return _read_space(folder), dict.fromkeys(tars)


def _read_space(folder: Path) -> LatentSpace:
    path = folder / SPACE
    try:
        return build(LatentSpace, json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError as error:
        example = json.dumps(PUBLISHED["SDXL"].to_dict())
        message = f"{folder} does not say which latent space its latents are of; write {SPACE} beside the tars"
        raise InputError(f"{message}, for SDXL {example}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a latent space; write it again") from error


def read_index(folder: Path) -> tuple[LatentSpace, dict[str, int | None]]:
    """A finished folder's latent space, and the samples of each of its files; raises as ``read_shards``."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version, shards = index["format"], {entry["file"]: entry["samples"] for entry in index["shards"]}
    except OSError as error:
        raise InputError(f"{folder} holds no finished latent shards: cannot read {INDEX}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not an index of latent shards; write the shards again") from error
    if version != FORMAT:
        raise InputError(f"{path} has format {version}; this version reads format {FORMAT}")
    if "latent_space" not in index:
        raise InputError(f"{path} does not say which latent space its latents are of; write the shards again")
    return build(LatentSpace, index["latent_space"], f"{path}: latent_space"), shards


def _read_shard(path: Path, samples: int | None, space: LatentSpace) -> tuple[Tensor, Tensor, list[tuple[str, ...]]]:
    latents, levels, captions = _read_tar(path, space) if path.suffix == ".tar" else _read_safetensors(path)
    if samples not in (None, len(latents)):
        raise InputError(f"{path} has {len(latents)} samples; its index says {samples}")
    _check_samples(latents, levels, captions, space, str(path))
    return latents.half(), levels.float(), captions


def _read_tar(path: Path, space: LatentSpace) -> tuple[Tensor, Tensor, list[tuple[str, ...]]]:
    found = read_tar(path, space)
    return found.latents, torch.zeros(len(found.latents)), [(caption,) for caption in found.captions]


def _read_safetensors(path: Path) -> tuple[Tensor, Tensor, list[tuple[str, ...]]]:
    try:
        tensors = load_file(path)
        latents, levels = tensors["latents"], tensors["noise_levels"]
        lines = _captions_path(path).read_text(encoding="utf-8").splitlines()
        return latents, levels, [tuple(json.loads(line)["captions"]) for line in lines]
    except OSError as error:
        raise InputError(f"{path}: cannot read the shard or its captions; write the shards again") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} or its captions are damaged; write the shards again") from error


def _captions_path(shard: Path) -> Path:
    return shard.with_suffix(".jsonl")


def _check_samples(
    latents: Tensor, levels: Tensor, captions: Sequence[Sequence[str]], space: LatentSpace, where: str
) -> None:
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
