"""The pictures of an optimisation: how its rewards rose, and what the image looked like on the way."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from latent_guard.pipelines.vae import decode, without_overflow

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from latent_guard.reno.result import OptimisedNoise

INCHES, DOTS = (4.5, 2.4), 120
TILE, GAP, LABEL = 128, 4, 16  # pixels


def reward_curves(found: OptimisedNoise, image: int) -> bytes:
    """One image's rewards against the iteration, a panel each, as PNG; a line marks the iteration that was kept."""
    from matplotlib.figure import Figure  # no pyplot: it would look for a display

    width, height = INCHES
    figure = Figure(figsize=(width, height * len(found.rewards)), dpi=DOTS, layout="constrained")
    panels = figure.subplots(len(found.rewards), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, curve) in zip(panels, found.rewards.items(), strict=True):
        axes.plot(curve[:, image].numpy())
        axes.axvline(int(found.best[image]), color="gray", linestyle="--", linewidth=1)
        axes.set(ylabel=name)
        axes.grid(alpha=0.3)
    panels[-1].set(xlabel="iteration")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def strip(pictures: Sequence[Image], labels: Sequence[str]) -> Image:
    """Pictures side by side, each under its label."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (GAP + len(pictures) * (TILE + GAP), LABEL + TILE + 2 * GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x = GAP + column * (TILE + GAP)
        draw.text((x, 0), label, fill="black", font=font)
        sheet.paste(picture.convert("RGB").resize((TILE, TILE)), (x, LABEL + GAP))
    return sheet


def decoded(pipe: Any, raw: Tensor) -> list[Image]:
    """Raw latents (B, C, H, W) as a pipeline shows them."""
    pictures: list[Image] = []
    with without_overflow(pipe.vae):
        for one in raw.split(1):  # a batch that could just be optimised need not fit the decoder
            pictures += pipe.image_processor.postprocess(decode(pipe.vae, one), output_type="pil")
    return pictures
