"""A tiny pipeline of one class with random weights, and the arguments of a call that makes a batch of three."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import diffusers
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from latent_guard.pipelines.images import images_of

BATCH, STEPS, WIDTH, TOKENS = 3, 3, 16, 5


@dataclass(frozen=True)
class Tiny:
    """How to make and call a pipeline.

    Attributes:
        name: of a class of diffusers; after a dash, of a variant of it.
        parts: makes its components by name; those that its class does not take are left out, missing ones are None.
        arguments: of a call for three pictures, without steps, generators and output type.
        steps: of the scheduler that are asked for.
        settings: attributes of the pipeline that its class gives no argument for.
        edits: modules of classes that enlarge pictures to a megapixel, whatever is asked for, and what their
            ``calculate_dimensions`` is to say instead.
    """

    name: str
    parts: Callable[[], dict[str, Any]]
    arguments: dict[str, Any]
    steps: int = STEPS
    settings: dict[str, Any] = field(default_factory=dict)
    edits: tuple[Any, tuple[int | None, ...]] | None = None

    @property
    def kind(self) -> Any:
        return getattr(diffusers, self.name.split("-")[0])

    def pipeline(self) -> Any:
        """The pipeline; torch's global generator is seeded with 0 to make it."""
        torch.manual_seed(0)
        parts = self.parts()
        takes = inspect.signature(self.kind.__init__).parameters
        own = {name: part for name, part in parts.items() if name in takes}
        missing = {
            name: None
            for name, parameter in takes.items()
            if name != "self" and name not in parts and parameter.default is inspect.Parameter.empty
        }
        pipe = self.kind(**own, **missing)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        for name, value in self.settings.items():
            setattr(pipe, name, value)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def call(self, pipe: Any, **changes: Any) -> Any:
        """The images of the call, as arrays unless asked otherwise."""
        own = {"num_inference_steps": self.steps, "generator": generators(1, 2, 3), "output_type": "np"}
        torch.manual_seed(0)  # some draw the latents of a control picture from the global generator
        with ExitStack() as stack:
            if self.edits is not None:
                module, size = self.edits
                stack.enter_context(patch.object(module, "calculate_dimensions", return_value=size))
            return images_of(pipe(**{**own, **self.arguments, **changes}))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def embeds(*shape: int, seed: int = 0) -> Tensor:
    """Stands for the encoded prompts, (3, ...)."""
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


def of_one_prompt(arguments: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments for the first prompt alone; it draws from the global generator, which each call seeds."""
    rows = {name: value[:1] if isinstance(value, Tensor) else value for name, value in arguments.items()}
    return {**rows, "generator": None}


def pictures(pixels: int) -> Tensor:
    """Three pictures (3, 3, pixels, pixels) in [0, 1]."""
    return torch.rand(BATCH, 3, pixels, pixels, generator=torch.Generator().manual_seed(3))


def videos(frames: int, pixels: int) -> Tensor:
    """Three videos (3, frames, 3, pixels, pixels) in [0, 1]."""
    return torch.rand(BATCH, frames, 3, pixels, pixels, generator=torch.Generator().manual_seed(4))


def masks(pixels: int) -> Tensor:
    """Three masks (3, 1, pixels, pixels): the right half is to be drawn anew."""
    mask = torch.zeros(BATCH, 1, pixels, pixels)
    mask[:, :, :, pixels // 2 :] = 1.0
    return mask


def kl(channels: int = 4, levels: int = 3, **config: Any) -> Any:
    """An AutoencoderKL of factor 2 ** (levels - 1) whose config has all numbers that a pipeline might apply."""
    numbers: dict[str, Any] = {
        "scaling_factor": 0.7,
        "shift_factor": 0.3,
        "latents_mean": [0.1 * n - 0.2 for n in range(channels)],
        "latents_std": [1.5 + 0.25 * n for n in range(channels)],
    }
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        **{**numbers, **config},
    )


def tiny_image_encoder(pixels: int) -> Any:
    """CLIP's image tower of width 16, as random as the rest."""
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=pixels,
        patch_size=pixels // 2,
    )
    return CLIPVisionModelWithProjection(config)
