"""A generated twin of a data set: each image noised and denoised by a pipeline, with its class name as the prompt.

The second test of Latent-CLIP (arXiv 2503.08455): what a generator draws, classified before it is decoded.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.bounds import MAX_GUIDANCE, MAX_STEPS, require_number, require_whole
from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.zero_shot.views import square

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@dataclass(frozen=True)
class TwinSettings:
    """How the twin is drawn.

    Attributes:
        pipeline: what messages and files call the pipeline.
        strength: how much of the schedule each image is noised by, 0..1; the paper's is 0.66.
        steps: of the whole schedule; ``strength`` of them are run.
        guidance_scale: None for the pipeline's own default.
        seed: with an image's name it decides that image's noise.
        side: pixels of the square that each image is cropped to.
        batch_size: images drawn at once.
    """

    pipeline: str
    strength: float
    steps: int
    guidance_scale: float | None
    seed: int
    side: int
    batch_size: int

    def __post_init__(self) -> None:
        require_number("--strength, a share of the schedule,", self.strength, 0, 1, exclusive=True)
        require_whole("--steps", self.steps, 1, MAX_STEPS)
        if self.guidance_scale is not None:
            require_number("--guidance-scale", self.guidance_scale, 0, MAX_GUIDANCE)
        if int(self.steps * self.strength) < 1:
            raise InputError(f"{self.steps} steps at strength {self.strength} leave none to run; raise --steps")


class TwinMaker:
    """Draws twins with the image-to-image pipeline of the same family, built from a pipeline's own components."""

    def __init__(self, pipe: Any, settings: TwinSettings) -> None:
        """Raises ``UnsupportedPipelineError`` if diffusers has no image-to-image for the pipeline."""
        from diffusers import AutoPipelineForImage2Image

        try:
            self._pipe = AutoPipelineForImage2Image.from_pipe(pipe)
            self._parameters = inspect.signature(self._pipe.__call__).parameters
            if "strength" not in self._parameters:  # FLUX.2's takes an image to look at, not one to noise
                raise ValueError(f"{type(self._pipe).__name__} knows no strength")
        except ValueError as error:
            name = type(pipe).__name__
            message = f"diffusers has no pipeline that noises an image and denoises it for {name}; use another --model"
            raise UnsupportedPipelineError(message) from error
        self._pipe.set_progress_bar_config(disable=True)
        self._space, self.settings = LatentSpace.of_vae(pipe.vae), settings

    def draw(self, pictures: Sequence[Picture], prompts: Sequence[str], keys: Sequence[str]) -> Tensor:
        """Raw latents (B, C, H, W), float32 on the CPU, undecoded: the twin of each picture."""
        s = self.settings
        arguments: dict[str, Any] = {"strength": s.strength, "num_inference_steps": s.steps, "output_type": "latent"}
        if s.guidance_scale is not None:
            arguments["guidance_scale"] = s.guidance_scale
        if "height" in self._parameters:  # these would resize to their own default
            arguments["height"] = arguments["width"] = s.side
        latents = self._pipe(
            prompt=list(prompts),
            image=[square(picture, s.side) for picture in pictures],
            generator=[generator_of(s.seed, key) for key in keys],
            **arguments,
        ).images
        if latents.ndim == 3:  # FLUX.1 hands out its latents as packed
            latents = self._pipe._unpack_latents(latents, s.side, s.side, self._pipe.vae_scale_factor)
        raw: Tensor = self._space.to_raw(latents.float()).cpu()
        return raw


def generator_of(seed: int, key: str) -> torch.Generator:
    """The noise of one image depends on the seed and its name alone, not on what it is drawn beside."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # manual_seed takes 63 bits
