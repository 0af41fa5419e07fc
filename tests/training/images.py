"""Images with captions in every layout that ``encode`` reads, and a VAE small enough to make on the spot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import datasets
import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from latent_guard.files.checksums import Checksum
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.training.data.tar_shards import manifest_path
from latent_guard.training.encoding.encoder import Encoder

SIZE = 8


def jpeg(number: int, height: int = 12, width: int = 10) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_webdataset(folder: Path, tars: int, samples: int) -> Path:
    """``samples`` in each of ``tars``; sample n of tar t is called t-n and captioned "picture t-n"."""
    for tar in range(tars):
        members: list[tuple[str, bytes]] = []
        for number in range(samples):
            name = f"{tar}-{number}"
            members += [(f"{name}.jpg", jpeg(100 * tar + number)), (f"{name}.txt", f"picture {name}".encode())]
        write_tar(folder / f"{tar:05d}.tar", members)
    return folder


def write_folder(folder: Path, captions: dict[str, str], images: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in images.items():
        (folder / name).write_bytes(content)
    lines = (json.dumps({"file_name": name, "text": text}) for name, text in captions.items())
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def write_parquet(path: Path, samples: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "image": [{"bytes": jpeg(number), "path": None} for number in range(samples)],
        "caption": [f"picture {number}" for number in range(samples)],
        "id": [f"row {number}" for number in range(samples)],
    }
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(path)
    return path


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        layers_per_block=1,
        latent_channels=4,
        sample_size=SIZE,
    ).eval()


def tiny_encoder(dtype: str = "float16", size: int = SIZE, native_aspect: bool = False) -> Encoder:
    tokenizer = trimmed_clip_tokenizer(merges=50, context_length=8)
    return Encoder(tiny_vae(), "tiny", tokenizer, size, dtype, batch=2, native_aspect=native_aspect)


def samples_in(folder: Path) -> list[tuple[str, str]]:
    """(key of the source, caption) of each sample in a folder's tars, read as any reader of tars would."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            contents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        for name in (name.removesuffix(".txt") for name in contents if name.endswith(".txt")):
            found.append((json.loads(contents[f"{name}.json"])["key"], contents[f"{name}.txt"].decode()))
    return found


def sign(folder: Path) -> None:
    """Write the checksums of an encoded folder's tars anew, as if it had been written as it now is."""
    index = read_sealed(folder / "index.json", "the index")
    for entry in index["shards"]:
        found = asdict(Checksum.of_file(folder / entry["file"]))
        path = manifest_path(folder / entry["file"])
        path.write_bytes(sealed({**read_sealed(path, "the manifest"), **found}))
        entry.update(found)
    (folder / "index.json").write_bytes(sealed(index))
