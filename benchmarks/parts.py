"""What is timed: a look, a push, decoding and reading the pixels, and generations with and without a guard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, cast

import torch
from published import Case, PixelCLIP, latent_vit, made_on, random_bank
from timing import Work
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import SAFE, Policies, Policy
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.steering import push
from latent_guard.guidance.verdict import Cost
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.canary import Canary

LOOK, PUSH, DECODE, READ = "one look", "one push", "VAE decode", "decode + pixel CLIP B/16"
DENOISE = "one row of the denoiser"
UNGUARDED, BENIGN, STEERED, SLD = "unguarded generation", "guarded, benign", "guarded, steered", "SLD"
NEVER, ALWAYS = 1e3, -1e3  # thresholds that no score reaches, and that every score does
LEVEL = 0.5
CANARY = 128  # pixels


class Parts:
    """One case on one device, each model made when it is first needed."""

    def __init__(
        self, case: Case, device: str, dtype: torch.dtype, policy: Policy | Policies = SAFE, miniature: bool = False
    ) -> None:
        self.case, self.device, self.dtype, self.policy, self.miniature = case, device, dtype, policy, miniature
        self.side = case.side(miniature)

    @cached_property
    def vae(self) -> Any:
        return self._made(self.case.vae)

    @cached_property
    def denoiser(self) -> Any:
        return self._made(self.case.denoiser)

    @cached_property
    def pixel_clip(self) -> Any:
        return self._made(PixelCLIP)

    @cached_property
    def latent_clip(self) -> Any:
        return self._made(lambda miniature: latent_vit(self.vae, self.side, miniature))

    @cached_property
    def pipe(self) -> Any:
        pipe = self.case.pipeline(self.denoiser, self.vae)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    @cached_property
    def latent(self) -> Tensor:
        """A raw latent (1, C, h, w)."""
        return torch.randn(1, self.vae.config.latent_channels, self.side, self.side).to(self.device, self.dtype)

    @cached_property
    def canary(self) -> Canary:
        """A picture that attaching encodes, to know the VAE again."""
        return Canary.made_by(self.vae, torch.randint(0, 256, (3, CANARY, CANARY), dtype=torch.uint8))

    @cached_property
    def scorer(self) -> Scorer:
        model = self.latent_clip
        return Scorer(model, random_bank(model, NEVER))

    @torch.no_grad()
    def look(self) -> None:
        """Scores and nearest concepts of one latent, brought to the host, as the guard reads them."""
        if self.latent.is_meta:
            self._scores(self.latent)
        else:
            self.scorer.check(self.latent, LEVEL)

    def push(self) -> None:
        """One push of one latent, away from one category."""
        pushed = push(
            self.latent.float(),
            lambda raw: self._scores(raw)[:, 0],
            LatentSpace.of_vae(self.vae),
            strength=SAFE.strength,
            augmentations=SAFE.augmentations,
            augmentation_noise=SAFE.augmentation_noise,
        )
        self._on_host(pushed)

    @torch.no_grad()
    def decode(self) -> None:
        """Pixels of one latent, left where they are."""
        self.vae.decode(self.latent)

    @torch.no_grad()
    def read(self) -> None:
        """The same latent decoded and embedded by the pixel CLIP, which is what a check of the pixels costs."""
        self._on_host(self.pixel_clip(self.vae.decode(self.latent).sample))

    @torch.no_grad()
    def denoise(self) -> None:
        """One row of one step; a generation has ``case.rows`` of them a step."""
        self.case.denoise(self.denoiser, self.latent)

    def generations(self) -> dict[str, Work]:
        """The pipeline's own call, decoding included, in every method; each guarded one attaches anew."""
        works = {UNGUARDED: self._call, BENIGN: self._guarded(NEVER), STEERED: self._guarded(ALWAYS)}
        return {**works, SLD: self._sld} if self.case.rows > 1 else works

    def guard_costs(self) -> dict[str, Cost]:
        """Looks and pushes of a benign and of a steered generation, as the guard counts them."""
        return {name: self._attached(threshold) for name, threshold in ((BENIGN, NEVER), (STEERED, ALWAYS))}

    def flops(self) -> dict[str, float]:
        """GFLOP of each part, forward (and backward for a push)."""
        works = {LOOK: self.look, PUSH: self.push, DECODE: self.decode, READ: self.read, DENOISE: self.denoise}
        return {name: _gflop(work) for name, work in works.items()}

    def _guarded(self, threshold: float) -> Work:
        guard = self._guard(threshold)
        return lambda: self._attached(threshold, guard)

    def _attached(self, threshold: float, guard: LatentGuard | None = None) -> Cost:
        """One guarded call, without retries; it must be what the threshold is there to make it."""
        with (guard or self._guard(threshold)).attach(self.pipe) as watch:
            self._call()
        (verdict,) = watch.verdicts
        if (verdict.cost.pushes > 0) != (threshold == ALWAYS):
            raise RuntimeError(f"{self.case.name}: the guard made {verdict.cost.pushes} pushes; nothing was measured")
        return verdict.cost

    def _guard(self, threshold: float) -> LatentGuard:
        return LatentGuard(self.latent_clip, random_bank(self.latent_clip, threshold), self.policy, self.canary)

    def _call(self) -> None:
        pixels = self.side * 8
        torch.manual_seed(0)
        inputs = self.case.inputs(self.denoiser.config, 1)
        self.pipe(
            **{name: value.to(self.device, self.dtype) for name, value in inputs.items()},
            height=pixels,
            width=pixels,
            num_inference_steps=self.case.steps,
            output_type="pt",
        )

    def _sld(self) -> None:
        with one_more_row(self.denoiser):
            self._call()

    def _made(self, make: Any) -> Any:
        with made_on(self.device, self.dtype):
            return make(self.miniature).to(self.device, self.dtype).eval().requires_grad_(False)

    def _scores(self, raw: Tensor) -> Tensor:
        """Category scores; without data, where only arithmetic is counted, the embedding that they are read from."""
        if raw.is_meta:
            return cast(Tensor, self.latent_clip.encode_latents(raw, LEVEL, normalize=True))
        return self.scorer.scores(raw, LEVEL)

    def _on_host(self, value: Tensor) -> Tensor:
        return value if value.is_meta else value.cpu()


@contextmanager
def one_more_row(unet: Any) -> Iterator[None]:
    """Every evaluation of the UNet computes one more row, that of the safety concept, and drops it.

    This is all that is counted for Safe Latent Diffusion (Schramowski et al. 2023): its arithmetic on the three
    predictions is elementwise, and left out in its favour.
    """
    forward = unet.forward

    def wider(sample: Tensor, timestep: Tensor, **arguments: Any) -> Any:
        rows = len(sample)
        output = forward(_longer(sample, rows), timestep, **_longer(arguments, rows))
        return tuple(value[:rows] for value in output)

    unet.forward = wider
    try:
        yield
    finally:
        del unet.forward


def _longer(value: Any, rows: int) -> Any:
    """Tensors of `rows` rows with their last one twice, inside mappings as well; anything else as it is."""
    if isinstance(value, dict):
        return {name: _longer(entry, rows) for name, entry in value.items()}
    if isinstance(value, Tensor) and value.ndim and len(value) == rows:
        return torch.cat([value, value[-1:]])
    return value


def _gflop(work: Work) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops()) / 1e9
