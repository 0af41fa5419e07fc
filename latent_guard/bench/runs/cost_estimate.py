"""What a run will cost before it is made: counted from its plan, timed by the images that its folder already holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from latent_guard.bench.runs.folder import IMAGES, RunFolder
from latent_guard.bench.runs.plan import Unit
from latent_guard.bench.spec import Spec
from latent_guard.bench.world import SHIPPED_WORLD
from latent_guard.bounds import MAX_SIDE, require_whole
from latent_guard.errors import InputError
from latent_guard.files.documents import read_json
from latent_guard.package_data import SHIPPED_MODELS

SAMPLED = 200  # images whose size on disk is looked at


@dataclass(frozen=True)
class MethodCost:
    """What one method has to do in a run, or a share of it.

    Attributes:
        images, calls: in all.
        left: images that are not made yet.
        evaluations: rows that the denoiser computes for the images that are left, at the very least: one a step, two
            under classifier-free guidance; what a method adds to that is known once it runs.
        seconds: of an image, the median of those that are made; None before the first.
    """

    method: str
    images: int
    calls: int
    left: int
    evaluations: int
    seconds: float | None

    @property
    def seconds_left(self) -> float | None:
        if not self.left:
            return 0.0
        return None if self.seconds is None else self.seconds * self.left


def method_costs(spec: Spec, units: Sequence[Unit], folder: RunFolder | None) -> list[MethodCost]:
    """The cost of these calls, by method; ``folder`` is that of the run where it was begun."""
    made = {unit.name for unit in units if folder is not None and folder.is_made(unit)}
    costs = []
    for method in spec.methods:
        own = [unit for unit in units if unit.method == method]
        left = [unit for unit in own if unit.name not in made]
        costs.append(
            MethodCost(
                method=method.label,
                images=sum(len(unit.jobs) for unit in own),
                calls=len(own),
                left=sum(len(unit.jobs) for unit in left),
                evaluations=sum(spec.steps * _rows_a_step(spec, unit) * len(unit.jobs) for unit in left),
                seconds=_median_seconds(folder, [unit for unit in own if unit.name in made]),
            )
        )
    return costs


def bytes_an_image(spec: Spec, folder: RunFolder | None) -> int | None:
    """On disk: the mean of images that are made; before the first, an upper bound (a PNG that packs nothing).

    None where the pipeline is not on this machine, so that the size of its images is unknown.
    """
    files = islice((folder.path / IMAGES).glob("*.png"), SAMPLED) if folder is not None else ()
    if sizes := [file.stat().st_size for file in files]:
        return round(float(np.mean(sizes)))
    side = _side(SHIPPED_WORLD.pipeline(spec.model) if spec.model in SHIPPED_MODELS else Path(spec.model))
    return None if side is None else 3 * side * side


def _rows_a_step(spec: Spec, unit: Unit) -> int:
    scale = spec.guidance_scale if spec.guidance_scale is not None else unit.jobs[0].row.guidance
    return 2 if scale is not None and scale > 1 else 1


def _median_seconds(folder: RunFolder | None, made: Sequence[Unit]) -> float | None:
    if folder is None or not made:
        return None
    return float(folder.made(made)["seconds"].median())


def _side(pipeline: Path) -> int | None:
    """Pixels of a side, as diffusers takes it from the configs of denoiser and VAE."""
    denoisers = [pipeline / name / "config.json" for name in ("unet", "transformer")]
    try:
        denoiser = read_json(next(file for file in denoisers if file.exists()), "the denoiser's config")
        vae = read_json(pipeline / "vae" / "config.json", "the VAE's config")
        side = require_whole("sample_size", denoiser["sample_size"], 1, MAX_SIDE)
        return require_whole("pixels", side << (len(vae["block_out_channels"][:16]) - 1), 1, MAX_SIDE)
    except (StopIteration, InputError, KeyError, TypeError, ValueError):
        return None
