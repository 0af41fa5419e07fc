"""The map between pipeline latents and raw ones, against the code of diffusers' own pipelines on random VAEs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.testing.pipelines import CHANNELS, PIXELS, SIDE, WIDTH, tiny_vae
from tests.pipelines.tiny import BY_NAME, unpacked

BATCH = 2
EMBEDS = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(BATCH, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1)) * 2 - 1
CPU = torch.device("cpu")


def playground_vae() -> Any:
    """One that normalises by channel too, as Playground v2.5's does."""
    both = {"latents_mean": (-1.6, 0.9, 0.2, 1.7), "latents_std": (5.5, 3.0, 4.1, 2.2)}
    return diffusers.AutoencoderKL(**{**dict(tiny_vae(0.5).config), **both})


def flux2_vae() -> Any:
    blocks = {"block_out_channels": (8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    made = diffusers.AutoencoderKLFlux2(latent_channels=CHANNELS, **blocks, **kinds).eval()
    made.bn.running_mean.normal_()
    made.bn.running_var.uniform_(0.1, 4.0)
    return made


def sana_vae() -> Any:
    sides = {
        f"{side}_{key}": value
        for side in ("encoder", "decoder")
        for key, value in (("block_out_channels", (8, 8, 8)), ("layers_per_block", (1, 1, 1)))
    }
    scales = {f"{side}_qkv_multiscales": ((), (), ()) for side in ("encoder", "decoder")}
    return diffusers.AutoencoderDC(latent_channels=CHANNELS, scaling_factor=0.41407, **sides, **scales).eval()


def flux2() -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=4 * CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.Flux2KleinPipeline(scheduler, flux2_vae(), None, None, transformer)


def sana() -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=4,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=WIDTH,
        sample_size=SIDE,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.SanaPipeline(None, None, sana_vae(), transformer, scheduler)


def decoded_by(pipe: Any, call: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """The latents after a pipeline's last step, and the raw ones that it then gave its VAE."""
    seen: dict[str, Tensor] = {}
    decode = pipe.vae.decode

    def after_step(_pipe: Any, _step: int, _time: Any, state: dict[str, Any]) -> dict[str, Any]:
        seen["latents"] = state["latents"]
        return {}

    def recorded(raw: Tensor, *arguments: Any, **options: Any) -> Any:
        seen["raw"] = raw
        return decode(raw, *arguments, **options)

    pipe.vae.decode = recorded
    pipe.set_progress_bar_config(disable=True)
    call(pipe, callback_on_step_end=after_step, output_type="pt", num_inference_steps=2)
    return seen["latents"], seen["raw"]


def flux2_call(pipe: Any, **options: Any) -> None:
    pipe(prompt_embeds=EMBEDS, guidance_scale=1.0, height=PIXELS, width=PIXELS, **options)


def sana_call(pipe: Any, **options: Any) -> None:
    sizes = {"height": PIXELS, "width": PIXELS, "use_resolution_binning": False}
    pipe(
        prompt_embeds=EMBEDS,
        prompt_attention_mask=torch.ones(1, 5),
        negative_prompt=None,
        guidance_scale=1.0,
        **sizes,
        **options,
    )


@pytest.mark.parametrize(
    "name", ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"]
)
def test_raw_latents_are_those_that_the_pipeline_decodes(name: str):
    family = BY_NAME[name]
    pipe = family.pipeline()
    latents, raw = decoded_by(pipe, family.call)
    torch.testing.assert_close(LatentSpace.of_vae(pipe.vae).to_raw(unpacked(pipe, latents)), raw)


def test_raw_latents_of_a_vae_with_means_are_those_that_sdxl_decodes():
    pipe = BY_NAME["StableDiffusionXLPipeline"].pipeline()
    pipe.vae = playground_vae()
    latents, raw = decoded_by(pipe, BY_NAME["StableDiffusionXLPipeline"].call)
    torch.testing.assert_close(LatentSpace.of_vae(pipe.vae).to_raw(latents), raw)


def test_raw_latents_are_those_that_flux_2_decodes():
    pipe = flux2()
    packed, raw = decoded_by(pipe, flux2_call)
    side = SIDE // 2
    latents = packed.transpose(1, 2).reshape(1, 4 * CHANNELS, side, side)
    space = LatentSpace.of_vae(pipe.vae)
    assert (space.channels, space.factor, space.patch) == (CHANNELS, 4, 2)
    torch.testing.assert_close(space.to_raw(latents), raw)


def test_raw_latents_are_those_that_sana_decodes():
    pipe = sana()
    latents, raw = decoded_by(pipe, sana_call)
    torch.testing.assert_close(LatentSpace.of_vae(pipe.vae).to_raw(latents), raw)


NO_NOISE = SimpleNamespace(
    add_noise=lambda latents, noise, timestep: latents,
    scale_noise=lambda latents, timestep, noise: latents,
    config=SimpleNamespace(sigma_data=1.0),
)


def encoded_by(name: str, vae: Any) -> Tensor:
    """The latents of ``IMAGES`` by a pipeline's own code, before it adds noise."""
    kind, generator = getattr(diffusers, name), torch.Generator().manual_seed(0)
    pipe = SimpleNamespace(vae=vae, scheduler=NO_NOISE, vae_scale_factor=4)
    pipe._patchify_latents = getattr(kind, "_patchify_latents", None)
    if hasattr(kind, "_encode_vae_image"):
        return kind._encode_vae_image(pipe, IMAGES, generator)
    if name == "SanaSprintImg2ImgPipeline":
        sizes = (BATCH, CHANNELS, PIXELS, PIXELS, torch.float32, CPU)
        return kind.prepare_latents(pipe, IMAGES, torch.tensor(0.0), *sizes, generator)
    return kind.prepare_latents(pipe, IMAGES, None, BATCH, 1, torch.float32, CPU, generator)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("StableDiffusionImg2ImgPipeline", lambda: tiny_vae(0.18215)),
        ("StableDiffusionXLImg2ImgPipeline", lambda: tiny_vae(0.13025)),
        ("StableDiffusionXLImg2ImgPipeline", playground_vae),
        ("StableDiffusion3Img2ImgPipeline", lambda: tiny_vae(1.5305, 0.0609)),
        ("FluxImg2ImgPipeline", lambda: tiny_vae(0.3611, 0.1159)),
        ("Flux2Pipeline", flux2_vae),
        ("Flux2KleinPipeline", flux2_vae),
        ("SanaSprintImg2ImgPipeline", sana_vae),
    ],
)
@torch.no_grad()
def test_pipeline_latents_are_those_that_the_pipeline_encodes_to(name: str, make: Callable[[], Any]):
    vae = make().eval()
    posterior = vae.encode(IMAGES)
    if hasattr(posterior, "latent"):
        raw = posterior.latent
    elif name.startswith("Flux2"):
        raw = posterior.latent_dist.mode()
    else:
        raw = posterior.latent_dist.sample(torch.Generator().manual_seed(0))
    space = LatentSpace.of_vae(vae)
    latents = space.from_raw(raw)
    torch.testing.assert_close(latents, encoded_by(name, vae))
    torch.testing.assert_close(space.to_raw(latents), raw)
    assert raw.shape[2] * space.factor == PIXELS
