"""A model with a guard of its latents: looks, pushes, and generations with and without the guard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.full_size.models import Model
from benchmarks.full_size.record import NOTHING, Line, line_of
from benchmarks.full_size.rounds import Clock, in_rounds, timed, without
from benchmarks.full_size.sizes import Shape, Sizes
from benchmarks.full_size.weights import GIB, count, materialised
from benchmarks.published import FACTOR, latent_vit, made_on, random_bank
from benchmarks.timing import Work
from latent_guard.errors import UnsupportedPipelineError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, SAFE
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push
from latent_guard.guidance.verdict import Cost, Decision, Gate
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.family_table import family_of, space_of_pipeline

LOOK, PUSH = "one look", "one push"
UNGUARDED, BENIGN, STEERED = "unguarded generation", "guarded, never acting", "guarded, with pushes"
NEVER, ALWAYS = 1e3, -1e3  # thresholds that no score reaches, and that every score does
LEVEL, CANARY = 0.5, 128  # of the noise at a look; pixels of the picture by which a guard knows a VAE
WARM_UP = 2  # steps
START_S = 10.0  # in which a model is made, or warmed up


def measured(model: Model, sizes: Sizes, device: str, dtype: torch.dtype, clock: Clock) -> Iterator[Line]:
    """The lines of one model, shape by shape.

    Raises:
        OutOfTimeError: a shape takes longer than is left.
    """
    clock.require(START_S)
    subject = Subject(model, sizes, device, dtype)
    for shape in model.shapes(sizes):
        clock.require(START_S)
        yield from subject.measured(shape, clock)


class Subject:
    """The pipeline of a model, and guards that never act and that always do, all with random weights."""

    def __init__(self, model: Model, sizes: Sizes, device: str, dtype: torch.dtype) -> None:
        small = sizes.miniature
        denoiser, self.left_out_gib = materialised(partial(model.denoiser, small), device, dtype, model.repeats)
        vae, _ = materialised(partial(model.vae, small), device, dtype)
        self.model, self.sizes, self.device = model, sizes, device
        self.pipe = model.pipeline(denoiser, vae)
        self.pipe.set_progress_bar_config(disable=True)
        self.gate = _gate(self.pipe)
        with made_on(device, dtype):
            self.inputs = model.inputs(denoiser.config)
            latent_clip = latent_vit(vae, sizes.pictures[0].height // FACTOR, small)
        self.guards = _guards(latent_clip.to(device, dtype), vae, pushes=not model.makes_videos)
        self.guard_gib = count(latent_clip) * dtype.itemsize / GIB
        self.scorer = Scorer(latent_clip, self.guards[BENIGN].bank)
        self.costs: dict[str, Cost] = {}

    def measured(self, shape: Shape, clock: Clock) -> Iterator[Line]:
        """The lines of one shape; ratios are to the unguarded generation."""
        steps = self.sizes.steps
        about = Line(self.model.name, str(shape), f"{steps} steps, gate {self.gate}")
        for work in self._generations(shape, WARM_UP).values():
            last, _ = timed(work)  # what the first of them allocates once, or compiles, is no part of it
        generations = self._generations(shape, steps)
        clock.require(len(generations) * last * steps / WARM_UP)
        timings = in_rounds(generations, self.sizes.rounds, clock)
        timings[UNGUARDED] = without(timings[UNGUARDED], self.guard_gib)
        if STEERED in self.costs and self.costs[STEERED].pushes == 0:
            raise RuntimeError("the guard that always acts pushed nothing")
        for part in generations:
            yield line_of(about, part, timings, UNGUARDED, self.left_out_gib, self.costs.get(part, NOTHING))
        works = self._looks(shape)
        for work in works.values():
            work()
        timings |= in_rounds(works, self.sizes.looks, clock)
        for part in works:
            yield line_of(about, part, timings, UNGUARDED, self.left_out_gib)

    def _generations(self, shape: Shape, steps: int) -> dict[str, Work]:
        guarded = {name: partial(self._guarded, name, shape, steps) for name in self.guards}
        return {UNGUARDED: partial(self._generate, shape, steps), **guarded}

    def _guarded(self, name: str, shape: Shape, steps: int) -> None:
        with self.guards[name].attach(self.pipe, gate=self.gate) as watch:
            self._generate(shape, steps)
        (verdict,) = watch.verdicts
        if (verdict.decision is Decision.ALLOWED) != (name == BENIGN):
            raise RuntimeError(f"{name}: the verdict was {verdict.to_json()}")
        self.costs[name] = verdict.cost

    def _generate(self, shape: Shape, steps: int) -> None:
        torch.manual_seed(0)
        frames = {"num_frames": shape.frames} if self.model.makes_videos else {}
        self.pipe(
            **self.inputs,
            **self.model.arguments,
            **frames,
            height=shape.height,
            width=shape.width,
            num_inference_steps=steps,
            output_type="pt",
        )

    def _looks(self, shape: Shape) -> dict[str, Work]:
        """A look at a picture, or at all latent frames of a video; a push of a picture."""
        space = space_of_pipeline(self.pipe)
        frames = (shape.frames - 1) // self.pipe.vae_scale_factor_temporal + 1 if self.model.makes_videos else 1
        places = (shape.height // space.factor, shape.width // space.factor)
        raw = torch.randn(frames, space.channels, *places, device=self.device)
        pushed = partial(
            push,
            raw,
            lambda latents: self.scorer.scores(latents, LEVEL)[:, 0],
            space,
            strength=SAFE.strength,
            augmentations=SAFE.augmentations,
            augmentation_noise=SAFE.augmentation_noise,
        )
        look = {LOOK: torch.no_grad()(partial(self.scorer.check, raw, LEVEL))}
        return look if self.model.makes_videos else {**look, PUSH: pushed}


def _guards(latent_clip: LatentCLIP, vae: Any, *, pushes: bool) -> dict[str, LatentGuard]:
    canary = Canary.made_by(vae, torch.randint(0, 256, (3, CANARY, CANARY), dtype=torch.uint8))
    never = random_bank(latent_clip, NEVER)
    if not pushes:
        return {BENIGN: LatentGuard(latent_clip, never, BLOCK, canary)}
    always = replace(never, thresholds=torch.full_like(never.thresholds, ALWAYS))
    return {name: LatentGuard(latent_clip, bank, SAFE, canary) for name, bank in ((BENIGN, never), (STEERED, always))}


def _gate(pipe: Any) -> Gate:
    """Both gates where the guard knows the pipeline's steps, else the decoder alone."""
    try:
        family_of(pipe)
    except UnsupportedPipelineError:
        return "decode"
    return "both"
