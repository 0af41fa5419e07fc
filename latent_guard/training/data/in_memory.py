"""Latent shards of any layout, read into memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.files.documents import json_value, read_json, read_text
from latent_guard.files.plain import require_plain
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.training.data.checking import SETTINGS, fix_for, require_unchanged
from latent_guard.training.data.shards import INDEX, SPACE, LatentDataset, captions_path, check_samples, read_index
from latent_guard.training.data.webdataset import read_tar

_Part = tuple[Tensor, Tensor, list[tuple[str, ...]]]  # latents, noise levels, captions


def read_shards(folders: Iterable[Path | str]) -> LatentDataset:
    """Read all samples of one or more shard folders of the same latent space and shape.

    Raises:
        InputError: there is no folder, a file is missing or damaged, latent spaces or shapes differ, or a sample is
            one that ``ShardWriter.add`` would refuse.
    """
    datasets = read_by_shape(folders)
    if len(datasets) > 1:
        raise InputError(f"latents of several shapes cannot be mixed here: {', '.join(map(str, sorted(datasets)))}")
    return next(iter(datasets.values()))


def read_by_shape(folders: Iterable[Path | str]) -> dict[tuple[int, int, int], LatentDataset]:
    """Read shard folders like ``read_shards``, into one data set for each shape (C, H, W)."""
    contents = [(path, *_contents(path)) for path in map(Path, folders)]
    if not contents:
        raise InputError("no latent shards given; name at least one folder")
    first, space, _ = contents[0]
    for path, path_space, _ in contents:
        if path_space != space:
            raise InputError(f"{path} holds latents of {path_space}, {first} those of {space}; they cannot be mixed")
    parts: dict[tuple[int, int, int], list[_Part]] = {}
    for path, _, shards in contents:
        for file, samples in shards.items():
            for part in _read_shard(path / file, samples, space):
                parts.setdefault(tuple(part[0].shape[1:]), []).append(part)  # type: ignore[arg-type]
    if not parts:
        raise InputError(f"{first} holds no samples; write the shards again")
    return {shape: _joined(same, space) for shape, same in parts.items()}


def _joined(parts: list[_Part], space: LatentSpace) -> LatentDataset:
    return LatentDataset(
        latents=torch.cat([latents for latents, _, _ in parts]),
        noise_levels=torch.cat([levels for _, levels, _ in parts]),
        captions=[texts for _, _, captions in parts for texts in captions],
        latent_space=space,
    )


def _contents(folder: Path) -> tuple[LatentSpace, Mapping[str, int | None]]:
    """The latent space of a folder, and its shard files with their numbers of samples (None: unknown)."""
    tars = sorted(path.name for path in folder.glob("*.tar"))
    if (folder / INDEX).exists() or (folder / SETTINGS).exists() or not tars:
        index = read_index(folder)
        require_unchanged(folder, index.checksums)
        return index.latent_space, index.samples
    return _read_space(folder), dict.fromkeys(tars)


def _read_space(folder: Path) -> LatentSpace:
    path = folder / SPACE
    if not path.exists():
        example = json.dumps(PUBLISHED["SDXL"].to_dict())
        message = f"{folder} does not say which latent space its latents are of; write {SPACE} beside the tars"
        raise InputError(f"{message}, for SDXL {example}")
    return build(LatentSpace, read_json(path, "the latent space"), str(path))


def _read_shard(path: Path, samples: int | None, space: LatentSpace) -> list[_Part]:
    """Read the samples of a file, one part a shape."""
    parts = _read_tar(path, space) if path.suffix == ".tar" else [_read_safetensors(path)]
    count = sum(len(latents) for latents, _, _ in parts)
    if samples not in (None, count):
        raise InputError(f"{path} has {count} samples; its index says {samples}; {fix_for(path.parent)}")
    for latents, levels, captions in parts:
        check_samples(latents, levels, captions, space, str(path))
    return [(latents.half(), levels.float(), captions) for latents, levels, captions in parts]


def _read_tar(path: Path, space: LatentSpace) -> list[_Part]:
    groups = read_tar(path, space)
    return [(group.latents, torch.zeros(len(group.latents)), [(text,) for text in group.captions]) for group in groups]


def _read_safetensors(path: Path) -> _Part:
    try:
        require_plain(path)
        tensors = load_file(path)
        captions = captions_path(path)
        lines = read_text(captions, "the captions").splitlines()
        entries = [json_value(line, f"{captions}, line {n}", any_text=True) for n, line in enumerate(lines, 1)]
        return tensors["latents"], tensors["noise_levels"], [tuple(entry["captions"]) for entry in entries]
    except OSError as error:
        raise InputError(f"{path}: cannot read the shard or its captions; write the shards again") from error
    except (InputError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} or its captions are damaged; write the shards again") from error
