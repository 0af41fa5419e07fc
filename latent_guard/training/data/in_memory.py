"""Latent shards of any layout, read whole into memory."""

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
from latent_guard.training.data.checking import SETTINGS, mend, require_unchanged
from latent_guard.training.data.in_memory_tar import read_tar
from latent_guard.training.data.shards import INDEX, SPACE, LatentDataset, captions_path, check_samples, read_index

_Part = tuple[Tensor, Tensor, list[tuple[str, ...]]]  # latents, noise levels, captions


def read_shards(folders: Iterable[Path | str]) -> LatentDataset:
    """All samples of one or more shard folders of the same latent space and shape.

    Raises:
        InputError: no folder, a missing or damaged file, another latent space, several shapes, or samples that
            ``ShardWriter.add`` would refuse.
    """
    found = read_by_shape(folders)
    if len(found) > 1:
        raise InputError(f"latents of several shapes cannot be mixed here: {', '.join(map(str, sorted(found)))}")
    return next(iter(found.values()))


def read_by_shape(folders: Iterable[Path | str]) -> dict[tuple[int, int, int], LatentDataset]:
    """As ``read_shards``, with the samples of each shape (C, H, W) apart."""
    found = [(path, *_contents(path)) for path in (Path(folder) for folder in folders)]
    if not found:
        raise InputError("no latent shards given; name at least one folder")
    first, space, _ = found[0]
    for path, other, _ in found:
        if other != space:
            raise InputError(f"{path} holds latents of {other}, {first} those of {space}; they cannot be mixed")
    parts: dict[tuple[int, int, int], list[_Part]] = {}
    for path, _, shards in found:
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
    """The latent space of a folder, and its shards' files with their samples; None where nothing says how many."""
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
    """The samples of a file, those of each shape together."""
    parts = _read_tar(path, space) if path.suffix == ".tar" else [_read_safetensors(path)]
    if samples not in (None, found := sum(len(latents) for latents, _, _ in parts)):
        raise InputError(f"{path} has {found} samples; its index says {samples}; {mend(path.parent)}")
    for latents, levels, captions in parts:
        check_samples(latents, levels, captions, space, str(path))
    return [(latents.half(), levels.float(), captions) for latents, levels, captions in parts]


def _read_tar(path: Path, space: LatentSpace) -> list[_Part]:
    found = read_tar(path, space)
    return [(part.latents, torch.zeros(len(part.latents)), [(text,) for text in part.captions]) for part in found]


def _read_safetensors(path: Path) -> _Part:
    try:
        require_plain(path)
        tensors = load_file(path)
        latents, levels = tensors["latents"], tensors["noise_levels"]
        lines = read_text(captions_path(path), "the captions").splitlines()
        said = [json_value(line, f"{captions_path(path)}, line {n}", any_text=True) for n, line in enumerate(lines, 1)]
        return latents, levels, [tuple(entry["captions"]) for entry in said]
    except OSError as error:
        raise InputError(f"{path}: cannot read the shard or its captions; write the shards again") from error
    except (InputError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} or its captions are damaged; write the shards again") from error
