"""The flow generator: a rectified-flow transformer in diffusers' StableDiffusion3Pipeline, on the world's latents."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from latent_guard.devices import best_device
from latent_guard.latent_clip.tokenizer import tokenize, trimmed_clip_tokenizer
from latent_guard.worlds.emoji.autoencoder import LATENT_CHANNELS
from latent_guard.worlds.emoji.generator import BATCH, P_EMPTY, cached_scenes
from latent_guard.worlds.emoji.loop import LoopSettings, fit
from latent_guard.worlds.emoji.text_encoder import WIDTH as TEXT_WIDTH
from latent_guard.worlds.emoji.text_encoder import world_tokenizer

TIMESTEPS = 1000
CONTEXT_LENGTH = 24  # tokens: every prompt of the world has fewer, and each costs as much as a patch
LAYERS = 5
HEADS = 6
HEAD_WIDTH = 32


def new_transformer() -> SD3Transformer2DModel:
    """Make an untrained MM-DiT (Esser et al. 2024, section 4; 6.5 M parameters) of patches of 2 x 2 positions."""
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=2 * TEXT_WIDTH,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        pooled_projection_dim=2 * TEXT_WIDTH,
        pos_embed_max_size=4,
        qk_norm="rms_norm",
    )


def with_projection(encoder: CLIPTextModel) -> CLIPTextModelWithProjection:
    """Make the world's text encoder the kind that the pipeline wants; its projection changes nothing."""
    config = CLIPTextConfig.from_dict(encoder.config.to_dict())
    projecting = CLIPTextModelWithProjection(config)
    projecting.text_model.load_state_dict(encoder.state_dict())
    nn.init.eye_(projecting.text_projection.weight)
    projecting.eval().requires_grad_(False)
    return projecting


def assemble_flow(
    vae: AutoencoderKL, text_encoder: CLIPTextModel, transformer: SD3Transformer2DModel
) -> StableDiffusion3Pipeline:
    """Assemble the parts into a pipeline that plain diffusers saves and loads.

    Stable Diffusion 3 reads two CLIP text encoders and a T5: here one encoder serves as both, and there is no T5: load
    it with ``text_encoder_3=None, tokenizer_3=None``, as diffusers wants, and call it with ``max_sequence_length=1``,
    the length of T5's part, as it was trained.
    """
    encoder = with_projection(text_encoder)
    vae = copy.deepcopy(vae)
    vae.register_to_config(shift_factor=0.0)  # this pipeline adds it, and None is no number
    tokenizer = trimmed_clip_tokenizer(context_length=CONTEXT_LENGTH)
    return StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS),
        vae=vae.eval(),
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=encoder,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


def train_flow(
    folder: Path,
    latents: Path,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    settings: LoopSettings,
    *,
    seed: int,
    latents_seed: int,
    scenes: int,
) -> SD3Transformer2DModel:
    """Train the transformer by conditional flow matching (Lipman et al. 2023; Esser et al. 2024, section 3.1).

    At noise level t the input is (1 - t) * clean + t * noise and the target is noise - clean. Noise levels are drawn
    from a logit-normal distribution, stratified over the batch.

    Args:
        folder: folder of the run, from which it resumes.
        latents: folder in which the latents of ``scenes`` scenes of ``latents_seed`` are, or will be, cached.
        vae: encodes them where they are not.
        text_encoder: frozen.
        settings: schedule of the run.
        seed: seed of batches and noise.
        latents_seed: as in ``latents``.
        scenes: as in ``latents``.
    """
    torch.manual_seed(seed)
    device = torch.device(best_device())
    transformer = new_transformer().to(device)
    encoder: Any = with_projection(text_encoder)  # transformers types `to` in a way that mypy cannot call
    encoder.to(device)
    data = cached_scenes(latents, vae, latents_seed, scenes)
    tokenizer = world_tokenizer()
    empty = tokenize(tokenizer, [""])[0]

    def loss_at(step: int) -> Tensor:
        batch = data.batch(seed, step)
        ids = batch.ids
        ids[torch.rand(BATCH, generator=batch.generator) < P_EMPTY] = empty
        ids = ids[:, :CONTEXT_LENGTH]
        ids[:, -1] = tokenizer.eos_token_id  # as the pipeline's tokenizer cuts a text that is too long
        noise = torch.randn(batch.clean.shape, generator=batch.generator)
        strata = (torch.rand(BATCH, generator=batch.generator) + torch.arange(BATCH)) / BATCH
        level = torch.special.ndtri(strata.clamp(1e-4, 1 - 1e-4)).sigmoid()
        t = level[:, None, None, None]
        noisy = (1 - t) * batch.clean + t * noise
        words, pooled = _read(encoder, ids.to(device))
        times = TIMESTEPS * level.to(device)
        velocity = transformer(
            noisy.to(device),
            encoder_hidden_states=words,
            pooled_projections=pooled,
            timestep=times,
        ).sample
        error: Tensor = velocity.float() - (noise - batch.clean).to(device)
        return error.square().mean()

    return fit(transformer, loss_at, settings, folder)


@torch.no_grad()
def _read(encoder: CLIPTextModelWithProjection, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the pipeline makes of token ids (B, L): its words (B, L + 1, 2 width), T5's none last, and pooled ones."""
    read = encoder(ids, output_hidden_states=True)
    words = nn.functional.pad(read.hidden_states[-2].repeat(1, 1, 2), (0, 0, 0, 1))
    return words, read.text_embeds.repeat(1, 2)
