"""Photographs for the benchmarks in miniature: noise that is drawn on the spot, with autoencoders of random weights."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from latent_guard.pipelines.tiny_autoencoder import KINDS, TinyAutoencoder


def picture(rng: np.random.Generator, least: int = 0, most: int = 256) -> bytes:
    """A JPEG of noise between two shades."""
    content = io.BytesIO()
    Image.fromarray(rng.integers(least, most, (64, 64, 3), dtype=np.uint8)).save(content, "JPEG")
    return content.getvalue()


def write_photographs(path: Path, names: Sequence[str], synonyms: Sequence[str], count: int, seed: int) -> None:
    """Photographs of classes in turn, each class of a shade of its own."""
    rng = np.random.default_rng(seed)
    labels = [number % len(names) for number in range(count)]
    shade = 256 // len(names)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(names)),
            "synonyms": datasets.Value("string"),
        }
    )
    rows = {
        "image": [{"bytes": picture(rng, shade * label, shade * (label + 1)), "path": None} for label in labels],
        "label": labels,
        "synonyms": [synonyms[label] for label in labels],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)


def miniature(folder: Path, names: Sequence[str], synonyms: Sequence[str], training: int, validation: int) -> list[str]:
    """Write data and weights below a folder; the benchmark's options."""
    data = folder / "photographs"
    data.mkdir()
    for part in range(2):
        write_photographs(data / f"train-{part}-of-2.parquet", names, synonyms, training, part)
    write_photographs(data / "val-0-of-1.parquet", names, synonyms, validation, 2)
    torch.manual_seed(0)
    flux2, sana = TinyAutoencoder(KINDS["taef2"]), TinyAutoencoder(KINDS["taesana"])
    assert flux2.decoder is not None
    parts = {"taef2_encoder": flux2.encoder, "taef2_decoder": flux2.decoder, "taesana_encoder": sana.encoder}
    for name, part in parts.items():
        save_file(part.state_dict(), folder / f"{name}.safetensors")
    places = {"photographs": data, "encoder": folder / "taef2_encoder.safetensors"}
    places |= {"work": folder / "work", "out": folder / "out"}
    return ["--miniature", *(word for name, path in places.items() for word in (f"--{name}", str(path)))]
