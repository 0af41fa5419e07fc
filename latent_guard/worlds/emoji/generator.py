"""The world's generator: a Stable Diffusion pipeline of diffusers' own parts, trained on cached latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers import UNet2DConditionModel as UNet
from torch import Tensor
from transformers import CLIPTextModel

from latent_guard.devices import best_device
from latent_guard.files.atomic import atomic_file
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.worlds.emoji.autoencoder import LATENT_CHANNELS, encode
from latent_guard.worlds.emoji.captions import caption, fillers_among, with_fillers
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.pool import Pool, draw_pool
from latent_guard.worlds.emoji.scenes import MILD
from latent_guard.worlds.emoji.text_encoder import WIDTH as TEXT_WIDTH
from latent_guard.worlds.emoji.text_encoder import world_tokenizer

BATCH = 64
P_EMPTY = 0.1
CAPTIONS_A_SCENE = 4
# Fractions of a batch: free scenes, contexts alone, contexts with a companion. Free scenes are the most frequent ones
# of the world, and are learned soonest, since each of their captions describes one scene.
KIND_WEIGHTS = torch.tensor([0.4, 0.3, 0.3])
SCHEDULE = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}


def new_unet() -> UNet:
    """Make an untrained UNet of the shipped architecture (under 6 M parameters).

    The caption enters twice: word by word through cross-attention, and pooled through the time embedding
    (``addition_embed_type="text"``), from which it learns the content of the picture much sooner.
    """
    return UNet(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 144),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,  # the number of heads, as diffusers reads it
        cross_attention_dim=TEXT_WIDTH,
        addition_embed_type="text",
        encoder_hid_dim=TEXT_WIDTH,
        addition_embed_type_num_heads=5,
        resnet_time_scale_shift="scale_shift",
    )


def train_generator(
    folder: Path, vae: AutoencoderKL, text_encoder: CLIPTextModel, settings: LoopSettings, *, seed: int, scenes: int
) -> UNet:
    """Train the UNet on latents of mildly varied scenes (velocity, Salimans & Ho 2022, section 4; cosine schedule).

    The latents are encoded once and cached in ``folder``.
    """
    torch.manual_seed(seed)
    device = torch.device(best_device())
    unet = new_unet().to(device, memory_format=torch.channels_last)
    frozen: Any = text_encoder  # transformers types `to` in a way that mypy cannot call
    frozen.to(device).eval().requires_grad_(False)
    data = cached_scenes(folder, vae, seed, scenes)
    empty = tokenize(world_tokenizer(), [""])[0]
    alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod

    def loss_at(step: int) -> Tensor:
        batch = data.batch(seed, step)
        ids = batch.ids
        clean = batch.clean
        generator = batch.generator
        ids[torch.rand(BATCH, generator=generator) < P_EMPTY] = empty
        noise = torch.randn(clean.shape, generator=generator)
        # stratified over the batch: the same expectation, less variance
        times = ((torch.rand(BATCH, generator=generator) + torch.arange(BATCH)) / BATCH * len(alphas)).long()
        signal = alphas[times].sqrt()[:, None, None, None]
        sigma = (1 - alphas[times]).sqrt()[:, None, None, None]
        noisy = signal * clean + sigma * noise
        velocity = signal * noise - sigma * clean
        with torch.no_grad():
            words = frozen(ids.to(device)).last_hidden_state
        noisy = noisy.to(device, memory_format=torch.channels_last)
        error: Tensor = unet(noisy, times.to(device), words).sample.float() - velocity.to(device)
        return error.square().mean()

    return fit(unet, loss_at, settings, folder)


@dataclass(frozen=True)
class Batch:
    """Clean latents (B, C, H, W), token ids of a caption each (B, context), and the step's random generator."""

    clean: Tensor
    ids: Tensor
    generator: torch.Generator


@dataclass(frozen=True)
class CachedScenes:
    """Latents of N scenes, token ids of several captions each (N, captions, context), and sampling weights (N,)."""

    latents: Tensor
    ids: Tensor
    weights: Tensor

    def batch(self, seed: int, step: int) -> Batch:
        """The batch of a step, a function of seed and step alone."""
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.multinomial(self.weights, BATCH, replacement=True, generator=generator)
        columns = torch.randint(self.ids.shape[1], (BATCH,), generator=generator)
        return Batch(self.latents[rows], self.ids[rows, columns].long(), generator)


def cached_scenes(folder: Path, vae: AutoencoderKL, seed: int, scenes: int) -> CachedScenes:
    """Render mildly varied scenes of a seed and encode them; they are kept in ``folder``."""
    cached = _cached_latents(folder, vae, seed, scenes)
    kinds = cached["kinds"]
    weights = KIND_WEIGHTS[kinds] / kinds.bincount(minlength=len(KIND_WEIGHTS))[kinds]
    return CachedScenes(cached["latents"].float(), cached["ids"], weights)


def _cached_latents(folder: Path, vae: AutoencoderKL, seed: int, scenes: int) -> dict[str, Tensor]:
    path = folder / "latents.pt"
    if path.exists():
        cached: dict[str, Tensor] = torch.load(path, weights_only=True)
        return cached
    pool = draw_pool(seed, scenes, MILD)
    kinds = torch.tensor([(s.scene.context is not None) + (s.scene.companion is not None) for s in pool.samples])
    cached = {"latents": encode(vae, pool.pictures).half(), "ids": _caption_ids(pool, seed), "kinds": kinds}
    with atomic_file(path) as partial:
        torch.save(cached, partial)
    return cached


def _caption_ids(pool: Pool, seed: int) -> Tensor:
    """Return token ids of several captions of each scene, (N, CAPTIONS_A_SCENE, context) int16."""
    rng = np.random.default_rng(seed)
    tokenizer = world_tokenizer()
    fillers = fillers_among(tokenizer.get_vocab())
    scenes = (sample.scene for sample in pool.samples for _ in range(CAPTIONS_A_SCENE))
    captions = [with_fillers(caption(scene, rng), fillers, rng) for scene in scenes]
    distinct = sorted(set(captions))
    row = {text: i for i, text in enumerate(distinct)}
    ids = tokenize(tokenizer, distinct).to(torch.int16)
    return ids[torch.tensor([row[text] for text in captions])].reshape(len(pool), CAPTIONS_A_SCENE, -1)


def assemble(vae: AutoencoderKL, text_encoder: CLIPTextModel, unet: UNet) -> StableDiffusionPipeline:
    """Assemble the parts into a pipeline that plain diffusers saves and loads."""
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=world_tokenizer(),
        unet=unet.eval(),
        scheduler=DPMSolverMultistepScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
