"""Webdataset tars of latents, read into memory: those of ``encode``, and those that Latent-CLIP's authors train on.

The authors' tars hold ``KEY.latent.pt`` (a tensor, saved by torch) and ``KEY.txt``. A pickle can run any code, so these
files are read by torch's unpickler for tensors alone, and a sample that it refuses is counted as bad.
"""

from __future__ import annotations

import io
import logging
import pickle
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.files.images import MAX_BYTES
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.data.tar_shards import LATENT, check_whole

logger = logging.getLogger(__name__)
CAPTION = "txt"


@dataclass(frozen=True)
class SameShapeSamples:
    """Samples with latents of one shape: latents float16 (N, C, H, W), and N captions."""

    latents: Tensor
    captions: list[str]


def read_tar(path: Path, space: LatentSpace) -> list[SameShapeSamples]:
    """Read all good samples of a tar, one group a shape; a warning counts the bad ones, and names the first.

    Raises:
        InputError: the tar is unreadable or truncated, or holds no good sample.
    """
    good: dict[torch.Size, list[tuple[Tensor, str]]] = {}
    bad = list[str]()
    for key, members in tar_samples(path):
        try:
            latent = _latent(members, space)
            good.setdefault(latent.shape, []).append((latent, _caption(members)))
        except InputError as error:
            bad.append(f"{key}: {error}")
    if bad:
        total = len(bad) + sum(map(len, good.values()))
        logger.warning("%s: %d of %d samples are bad; %s", path, len(bad), total, bad[0])
    if not good:
        raise InputError(f"{path} holds no good sample ({bad[0] if bad else 'it is empty'})")
    return [
        SameShapeSamples(torch.stack([latent for latent, _ in same]), [caption for _, caption in same])
        for same in good.values()
    ]


def tar_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield each sample's key and its files by extension, as webdataset reads a tar.

    Files in a row whose names agree up to the first dot are one sample; a second file of the same name begins another
    sample. Links and devices are skipped.

    Raises:
        InputError: the tar is unreadable or truncated.
    """
    check_whole(path)
    current_key = ""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() and not member.issparse() else None
                if content is None:
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = f"{folder}/{stem}".lstrip("/")
                extension = extension.lower()
                if files and (key != current_key or extension in files):
                    yield current_key, files
                    files = {}
                current_key = key
                files[extension] = content.read(MAX_BYTES + 1)  # a larger file is refused later
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{path} is damaged ({error}); copy it again, or delete it") from error
    if files:
        yield current_key, files


def _latent(members: dict[str, bytes], space: LatentSpace) -> Tensor:
    extension = next((known for known in _DECODERS if known in members), None)
    if extension is None:
        raise InputError(f"it has no {' or '.join(_DECODERS)}")
    latent = _DECODERS[extension](members[extension])
    if latent.ndim == 4 and len(latent) == 1:
        latent = latent[0]
    if latent.ndim != 3 or len(latent) != space.channels:
        raise InputError(f"its latent has shape {tuple(latent.shape)}; {space} has {space.channels} channels")
    half = latent.detach().half()
    if not half.isfinite().all():
        raise InputError("its latent is not finite in float16")
    return half


def _of_safetensors(content: bytes) -> Tensor:
    try:
        return safetensors.torch.load(content)[LATENT]
    except (SafetensorError, KeyError) as error:
        raise InputError("its latent cannot be read") from error


def _of_pickle(content: bytes) -> Tensor:
    try:
        latent = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, OSError) as error:
        raise InputError("its latent.pt is damaged, or holds other things than tensors: refused") from error
    if not isinstance(latent, Tensor) or latent.layout != torch.strided or not latent.is_floating_point():
        raise InputError("its latent.pt is not a tensor of numbers")
    return latent


def _caption(members: dict[str, bytes]) -> str:
    try:
        caption = members[CAPTION].decode()
    except (KeyError, UnicodeDecodeError) as error:
        raise InputError("it has no caption in UTF-8") from error
    if not caption.strip():
        raise InputError("its caption is empty")
    return caption


_DECODERS: dict[str, Callable[[bytes], Tensor]] = {
    "safetensors": _of_safetensors,
    "latent.pt": _of_pickle,
}
