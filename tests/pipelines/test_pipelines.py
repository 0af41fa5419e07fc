"""What is refused when attaching, and how latents are read: spaces, packing, the end of a call."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_guard.errors import GuardError, LatentSpaceMismatchError, UnsupportedPipelineError
from latent_guard.guidance.policy import BLOCK
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.family_table import KNOWN
from latent_guard.pipelines.layouts import Layout
from latent_guard.testing import LinearLatentCLIP, linear_guard, tiny_pipeline
from tests.pipelines.tiny import BY_NAME, generators

NEVER, ALWAYS = 1e3, -1e3
REFINER = "StableDiffusionXLImg2ImgPipeline"


@pytest.mark.parametrize(
    ("cls", "named"),
    [
        ("HeliosModularPipeline", "does not know the steps of HeliosModularPipeline"),
        ("StableDiffusionUpscalePipeline", "does not know the steps of StableDiffusionUpscalePipeline"),
        ("CosmosTextToWorldPipeline", 'gate="decode"'),
    ],
)
def test_other_pipelines_are_refused_by_name(cls: str, named: str) -> None:
    kind = getattr(diffusers, cls)
    with pytest.raises(UnsupportedPipelineError, match=named):
        linear_guard(NEVER).attach(kind.__new__(kind))


@pytest.mark.parametrize(
    ("parts", "named"), [(("vae",), "move it with"), (("vae", "unet", "text_encoder"), "no weights")]
)
def test_parts_without_weights_or_elsewhere_are_refused_by_name(parts: tuple[str, ...], named: str) -> None:
    for gate in ("both", "decode"):
        pipe = tiny_pipeline()
        for part in parts:
            getattr(pipe, part).to("meta")
        with pytest.raises(UnsupportedPipelineError, match=named):
            linear_guard(NEVER).attach(pipe, gate=gate)


def test_a_tiled_and_sliced_decoder_is_guarded_alike() -> None:
    pipe = tiny_pipeline()
    pipe.vae.enable_tiling()
    pipe.vae.enable_slicing()
    pipe.vae.tile_latent_min_size, pipe.vae.tile_sample_min_size = 4, 32
    arguments = {"num_inference_steps": 2, "generator": [torch.Generator().manual_seed(n) for n in range(2)]}
    plain = pipe(["a", "b"], output_type="np", **arguments).images
    for gate in ("both", "decode"):
        arguments["generator"] = [torch.Generator().manual_seed(n) for n in range(2)]
        with linear_guard(NEVER).attach(pipe, gate=gate) as watch:
            assert np.array_equal(pipe(["a", "b"], output_type="np", **arguments).images, plain)
        assert len(watch.verdicts) == 2


def test_a_homemade_class_of_a_known_name_is_refused() -> None:
    homemade = type("StableDiffusionXLPipeline", (diffusers.StableDiffusionXLPipeline,), {"__module__": "homemade"})
    with pytest.raises(UnsupportedPipelineError, match="diffusers'"):
        linear_guard(NEVER).attach(tiny_pipeline(homemade))


def test_a_denoiser_that_reads_more_than_latents_is_refused() -> None:
    with pytest.raises(UnsupportedPipelineError, match="reads 8 channels, not 4"):
        linear_guard(NEVER).attach(tiny_pipeline("StableDiffusionXLPipeline", channels=8))


@pytest.mark.parametrize("family", ["FluxPipeline", "StableDiffusion3Pipeline", "StableDiffusionXLPipeline"])
def test_an_unknown_scheduler_is_refused_by_name_for_every_kind_of_family(family: str) -> None:
    pipe = BY_NAME[family].pipeline()
    pipe.scheduler = diffusers.UnCLIPScheduler()
    with pytest.raises(UnsupportedPipelineError, match="UnCLIPScheduler"):
        linear_guard(NEVER).attach(pipe)


def test_a_vae_of_another_size_is_refused() -> None:
    pipe = BY_NAME["FluxPipeline"].pipeline()
    pipe.vae = diffusers.AutoencoderKL(latent_channels=16)
    with pytest.raises(LatentSpaceMismatchError, match="16 channels"):
        linear_guard(NEVER).attach(pipe)


# As published in `vae/config.json` of Stable Diffusion 1.5, SDXL, Stable Diffusion 3 and FLUX.1.
PUBLISHED = {"SD 1.5": (4, 0.18215, None), "SDXL": (4, 0.13025, None), "SD3": (16, 1.5305, 0.0609)}
PUBLISHED["FLUX.1"] = (16, 0.3611, 0.1159)


@pytest.mark.parametrize(("channels", "scale", "shift"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_space_of_a_published_vae_is_read_from_its_config(channels: int, scale: float, shift: Any) -> None:
    config = {"latent_channels": channels, "scaling_factor": scale, "shift_factor": shift}
    sizes = {"block_out_channels": (4, 4, 4, 4), "norm_num_groups": 2}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    space = LatentSpace.of_vae(diffusers.AutoencoderKL(**config, **sizes, **kinds))
    assert (space.channels, space.factor) == (channels, 8)
    raw = torch.randn(1, channels, 2, 2)
    torch.testing.assert_close(space.from_raw(raw), (raw - (shift or 0.0)) * scale)
    torch.testing.assert_close(space.to_raw(space.from_raw(raw)), raw)


@given(batch=st.integers(1, 3), rows=st.integers(1, 5), columns=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_packing_is_that_of_the_pipeline(batch: int, rows: int, columns: int) -> None:
    flux = diffusers.FluxPipeline
    latents = torch.randn(batch, 4, 2 * rows, 2 * columns)
    layout = Layout(None, KNOWN["FluxPipeline"], LatentSpace("any", 4, 4)).of_size(8 * rows, 8 * columns)
    packed = flux._pack_latents(latents, batch, 4, 2 * rows, 2 * columns)
    assert torch.equal(layout.pack(latents), packed)
    assert torch.equal(layout.unpack(packed), latents)


@pytest.mark.parametrize("name", ["FluxPipeline", "FluxImg2ImgPipeline"])
def test_height_and_width_of_packed_latents_are_those_of_the_call(name: str) -> None:
    family = BY_NAME[name]
    pipe, critic = family.pipeline(), MeanCritic()
    for height, width in ((32, 48), (48, 32)):
        changes = {"image": torch.rand(3, 3, height, width)} if family.starts_from_picture else {}
        with linear_guard(NEVER, model=critic).attach(pipe) as watch:
            final = family.call(pipe, height=height, width=width, **changes)
        latents = pipe._unpack_latents(final, height, width, pipe.vae_scale_factor)
        assert set(critic.sizes) == {(height // 4, width // 4)}
        scores = LatentSpace.of_vae(pipe.vae).to_raw(latents)[:, :, : height // 8].mean(dim=(1, 2, 3))
        torch.testing.assert_close(watch.checks[-1].scores[:, 0], scores)
        critic.sizes.clear()


class MeanCritic(LinearLatentCLIP):
    """Scores the mean of a latent's upper half, whatever its size."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def score(self, raw: torch.Tensor) -> torch.Tensor:
        rows, columns = raw.shape[-2:]
        self.sizes.append((rows, columns))
        return raw[:, :, : rows // 2].mean(dim=(1, 2, 3))


def test_packed_latents_of_an_unknown_size_stop_the_generation() -> None:
    pipe = BY_NAME["FluxPipeline"].pipeline()
    pipe.scheduler.set_timesteps(1)
    sample = torch.randn(1, 16, 16)
    with pytest.raises(GuardError, match="expected latents of shape"), linear_guard(NEVER).attach(pipe):
        pipe.scheduler.step(sample, pipe.scheduler.timesteps[0], sample)


def test_a_refiner_gives_the_last_word_on_what_its_base_began() -> None:
    base, refiner = (BY_NAME[name].pipeline() for name in ("StableDiffusionXLPipeline", REFINER))
    arguments: dict[str, Any] = {"prompt": "a cat", "num_inference_steps": 5, "output_type": "latent"}
    begins = {**arguments, "denoising_end": 0.6, "height": 32, "width": 32}
    ends = {**arguments, "denoising_start": 0.6}

    guard = linear_guard(NEVER)
    unguarded = base(generator=generators(1), **begins).images
    plain = refiner(image=unguarded, generator=generators(2), **ends).images
    first, last = guard.attach(base), guard.attach(refiner)
    with first as base_watch:
        latents = base(generator=generators(1), **begins).images
    with last as refiner_watch:
        assert torch.equal(refiner(image=latents, generator=generators(2), **ends).images, plain)
    assert [w.verdicts[0].cost.model_evaluations for w in (base_watch, refiner_watch)] == [3, 2]
    assert base_watch.checks[-1].noise_level > 0.2
    assert refiner_watch.checks[-1].noise_level == 0.0


def test_a_base_hands_nothing_unsafe_to_its_refiner() -> None:
    base = BY_NAME["StableDiffusionXLPipeline"].pipeline()
    with linear_guard(ALWAYS, BLOCK).attach(base) as watch:
        latents = BY_NAME["StableDiffusionXLPipeline"].call(base, denoising_end=0.6)
    assert len(watch.verdicts) == 3
    assert (latents.std(dim=(2, 3)) < 1e-6).all()
