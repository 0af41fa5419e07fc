"""The control: an autoencoder of TAEF2's architecture that saw these photographs and nothing else.

FLUX.2's own normalises its latents by a BatchNorm's statistics. So does this one while it is trained; afterwards they
are folded into the encoder's last convolution.
"""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save
from torch import Tensor, nn

from benchmarks.photographs.shards import SIDE
from benchmarks.photographs.workplace import CONTROL, Workplace
from latent_guard.devices import best_device
from latent_guard.files.atomic import write_atomic
from latent_guard.pipelines.tiny_autoencoder import KINDS, LATENT_CHANNELS, TinyAutoencoder
from latent_guard.pipelines.vae import to_model_range
from latent_guard.worlds.emoji.loop import LoopSettings, fit

logger = logging.getLogger(__name__)
SEED = 20_261_201
CROP, BATCH = 32, 32
WHOLE = 0.2  # the last part of the steps, on whole photographs: the statistics of crops are not theirs
NOISE = 0.1  # added to latents before they are decoded, so that near latents mean like pictures


class NormalisedAutoencoder(nn.Module):
    """The autoencoder in training, with the BatchNorm between its halves."""

    def __init__(self) -> None:
        super().__init__()
        self.tiny = TinyAutoencoder(KINDS["taef2"])
        self.norm = nn.BatchNorm2d(LATENT_CHANNELS, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Decoded images of noised latents."""
        latents = self.norm(self.tiny.encode(images).latents)
        decoded: Tensor = self.tiny.decode(latents + NOISE * torch.randn_like(latents)).sample
        return decoded

    @torch.no_grad()
    def folded(self) -> TinyAutoencoder:
        """The autoencoder whose encoder gives normalised latents by itself."""
        last: Any = self.tiny.encoder[-1]
        norm: Any = self.norm
        deviation = (norm.running_var + norm.eps).sqrt()
        last.weight /= deviation[:, None, None, None]
        last.bias.copy_((last.bias - norm.running_mean) / deviation)
        return self.tiny


def train_control(place: Workplace) -> None:
    """Train the autoencoder on the training photographs, unless that was done; a killed training goes on."""
    folder = place.work / CONTROL
    encoder, decoder = folder / "taef2_encoder.safetensors", folder / "taef2_decoder.safetensors"
    if encoder.exists():
        return
    torch.manual_seed(SEED)
    pictures = _pictures(place)
    model = NormalisedAutoencoder().to(best_device()).to(memory_format=torch.channels_last)
    steps = place.sizes.control_steps
    whole_from = int((1 - WHOLE) * steps)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
        batch = _crops(pictures, generator) if step < whole_from else _whole(pictures, generator)
        images = to_model_range(batch).to(best_device(), memory_format=torch.channels_last)
        error: Tensor = (model(images).float() - images).square().mean()
        return error

    tiny = fit(model, loss_at, LoopSettings(steps), folder / "training").folded()
    logger.info("the control's reconstructions: %.1f dB", psnr(tiny, pictures[:256]))
    assert tiny.decoder is not None
    write_atomic(decoder, save({name: weight.contiguous() for name, weight in tiny.decoder.state_dict().items()}))
    write_atomic(encoder, save({name: weight.contiguous() for name, weight in tiny.encoder.state_dict().items()}))


@torch.no_grad()
def psnr(tiny: TinyAutoencoder, pictures: Tensor) -> float:
    """Mean peak signal-to-noise ratio of the round trip, dB."""
    images = to_model_range(pictures).to(tiny.device)
    errors = [
        (tiny.decode(tiny.encode(part).latents).sample.clamp(-1, 1) - part).square().mean((1, 2, 3))
        for part in images.split(BATCH)
    ]
    return float((10 * torch.log10(4 / torch.cat(errors))).mean())


def _pictures(place: Workplace) -> Tensor:
    """All training photographs, uint8 (N, 3, 64, 64)."""
    contents = (
        image["bytes"]
        for path in place.training
        for image in parquet.read_table(path, columns=["image"])["image"].to_pylist()
    )
    opened = (Image.open(io.BytesIO(content)).convert("RGB").resize((SIDE, SIDE)) for content in contents)
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in opened])).permute(0, 3, 1, 2)


def _crops(pictures: Tensor, generator: torch.Generator) -> Tensor:
    rows = torch.randint(len(pictures), (BATCH,), generator=generator)
    corners = torch.randint(SIDE - CROP + 1, (BATCH, 2), generator=generator).tolist()
    return torch.stack([pictures[r, :, y : y + CROP, x : x + CROP] for r, (y, x) in zip(rows, corners, strict=True)])


def _whole(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return pictures[torch.randint(len(pictures), (BATCH // 4,), generator=generator)]
