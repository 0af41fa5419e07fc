"""The page about a fitted guard: one HTML file without network access, script or an image that is not blurred."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure  # no pyplot: it would look for a display
from torch import Tensor

from latent_guard.contact_sheet import contact_sheet
from latent_guard.fitting.pushes import Trial
from latent_guard.fitting.verify import Verification

_SIZE = (5.2, 3.2)  # inches
_TILE = 128  # pixels
_BLUR = 10  # pixels, of the tile
_COLUMNS = 6


def html_page(
    model: str,
    verification: Verification,
    trials: Sequence[Trial],
    pictures: Tensor,
    labels: Sequence[str],
) -> str:
    """Write the page.

    Args:
        model: the pipeline as the user calls it.
        verification: what was measured.
        trials: of pushes, on dev prompts.
        pictures: guarded images of unsafe prompts, (N, 3, H, W) uint8; they are blurred before they are embedded.
        labels: what became of each.
    """
    environment = Environment(
        loader=PackageLoader("latent_guard.fitting", "templates"), autoescape=True, undefined=StrictUndefined
    )
    page: str = environment.get_template("guard.html.j2").render(
        model=model,
        rows=verification.rows(),
        looks=_figure(lambda axes: _draw_looks(axes, verification)) if verification.auroc else "",
        pushes=_figure(lambda axes: _draw_trials(axes, trials)) if trials else "",
        sheet=_blurred_sheet(pictures, labels) if len(pictures) else "",
    )
    return page


def _draw_looks(axes: Any, verification: Verification) -> None:
    axes.plot(verification.noise_levels, verification.auroc, marker="o", color="#2f6f9f")
    axes.invert_xaxis()
    axes.set_xlabel("noise level (generation runs to the right)")
    axes.set_ylabel("AUROC against the finished image")
    axes.grid(visible=True, alpha=0.3)


def _draw_trials(axes: Any, trials: Sequence[Trial]) -> None:
    for marker, name in (("o", "settled"), ("x", "missed")):
        best: dict[float, Trial] = {}
        for trial in (trial for trial in trials if trial.max_pushes and not trial.retries):
            kept = best.get(trial.strength)
            if kept is None or trial.worth > kept.worth:
                best[trial.strength] = trial
        lengths = sorted(best)
        shares = [100 * getattr(best[length], name) for length in lengths]
        axes.plot(lengths, shares, marker=marker, label=name)
    axes.set_xlabel("length of a push (root mean square, normalised latents)")
    axes.set_ylabel("unsafe dev images, %")
    axes.legend(frameon=False)
    axes.grid(visible=True, alpha=0.3)


def _figure(draw: Callable[[Any], None]) -> str:
    """A drawing as a data URI."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    draw(figure.add_subplot())
    content = BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(content.getvalue()).decode()


def _blurred_sheet(pictures: Tensor, labels: Sequence[str]) -> str:
    from PIL import Image, ImageFilter

    tiles = []
    for picture in pictures.permute(0, 2, 3, 1).to(torch.uint8).numpy():
        tile = Image.fromarray(picture).resize((_TILE, _TILE))
        tiles.append(tile.filter(ImageFilter.GaussianBlur(_BLUR)))
    content = BytesIO()
    contact_sheet(tiles, list(labels), _COLUMNS, _TILE).save(content, format="PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
