"""The pipelines that the guard knows, by class name, each with the layout of its latents."""

from __future__ import annotations

from typing import Any

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.pipelines.layouts import BlendedLayout, ConsistencyLayout, Layout, OneStepLayout, PackedLayout


def require_known(pipe: Any) -> None:
    """Raise ``UnsupportedPipelineError``, by name, for a pipeline that is not on the list."""
    name = type(pipe).__name__
    if name not in KNOWN or not type(pipe).__module__.startswith("diffusers."):
        raise UnsupportedPipelineError(_unknown(pipe, name))


def layout_of(pipe: Any, channels: int) -> Layout:
    """A new layout for a known pipeline whose latents have ``channels`` channels.

    Raises:
        UnsupportedPipelineError: the denoiser reads more than latents.
    """
    name = type(pipe).__name__
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    reads = denoiser.config.in_channels
    expected = KNOWN[name].channels_read(channels)
    if reads not in expected:
        raise UnsupportedPipelineError(
            f"the denoiser of this {name} reads {reads} channels, not {' or '.join(map(str, expected))}, for latents "
            f"of {channels}: a denoiser made for other conditions is not supported"
        )
    return KNOWN[name](pipe, channels)


def first_step(pipe: Any) -> int | None:
    """The index, in ``scheduler.timesteps``, at which a pipeline's present call begins; None if it does not say.

    Image to image leaves out the steps before its strength.
    """
    steps = getattr(pipe, "_num_timesteps", None)
    return len(pipe.scheduler.timesteps) - steps if isinstance(steps, int) else None


def last_step(pipe: Any) -> int:
    """The index, in ``scheduler.timesteps``, of the last step of a pipeline's present call.

    SDXL's ``denoising_end`` leaves the steps after it to a refiner.
    """
    timesteps = pipe.scheduler.timesteps
    end = getattr(pipe, "denoising_end", None)
    if not (isinstance(end, float) and 0.0 < end < 1.0):
        return len(timesteps) - 1
    trained = pipe.scheduler.config.num_train_timesteps
    return int((timesteps >= round(trained - end * trained)).sum()) - 1


_LATER = {"Flux2": "FLUX.2", "Sana": "Sana"}


def _unknown(pipe: Any, name: str) -> str:
    family = next((family for start, family in _LATER.items() if name.startswith(start)), None)
    if any(base.__name__ == "ModularPipeline" for base in type(pipe).__mro__):
        family = "modular"
    if family is not None:
        return f"{family} pipelines are not supported yet ({name}); use one of {', '.join(KNOWN)}"
    return f"the guard does not know the latent layout of {name}; it knows diffusers' {', '.join(KNOWN)}"


KNOWN: dict[str, type[Layout]] = {
    "StableDiffusionPipeline": Layout,
    "StableDiffusionImg2ImgPipeline": Layout,
    "StableDiffusionXLPipeline": Layout,
    "StableDiffusionXLImg2ImgPipeline": Layout,
    "StableDiffusionXLInpaintPipeline": BlendedLayout,
    "StableDiffusion3Pipeline": Layout,
    "StableDiffusion3Img2ImgPipeline": Layout,
    "FluxPipeline": PackedLayout,
    "FluxImg2ImgPipeline": PackedLayout,
    "PixArtAlphaPipeline": OneStepLayout,
    "PixArtSigmaPipeline": Layout,
    "LatentConsistencyModelPipeline": ConsistencyLayout,
    "LatentConsistencyModelImg2ImgPipeline": ConsistencyLayout,
}
