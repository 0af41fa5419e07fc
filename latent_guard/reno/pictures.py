"""Pictures of an optimisation: its reward curves, and the image after several of its iterations."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from latent_guard.pipelines.vae import decode, without_overflow

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from latent_guard.reno.result import OptimisedNoise

INCHES = (4.5, 2.4)
DOTS_PER_INCH = 120


def reward_curves(result: OptimisedNoise, image: int) -> bytes:
    """Plot one image's rewards against the iteration, a panel each, as PNG; a line marks the best iteration."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    width, height = INCHES
    figure = Figure(figsize=(width, height * len(result.rewards)), dpi=DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(len(result.rewards), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, curve) in zip(panels, result.rewards.items(), strict=True):
        axes.plot(curve[:, image].numpy())
        axes.axvline(int(result.best_iteration[image]), color="gray", linestyle="--", linewidth=1)
        axes.set(ylabel=name)
        axes.grid(alpha=0.3)
    panels[-1].set(xlabel="iteration")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def decoded(pipe: Any, raw: Tensor) -> list[Image]:
    """Decode raw latents (B, C, H, W) to images, as the pipeline does."""
    pictures: list[Image] = []
    with without_overflow(pipe.vae):
        for latent in raw.split(1):  # a batch that could just be optimised need not fit the decoder
            pictures += pipe.image_processor.postprocess(decode(pipe.vae, latent), output_type="pil")
    return pictures
