"""Fitting a ``LatentAdapter`` to images that both VAEs encoded.

The fit works on the coarser of both grids and on normalised channels, so that no channel counts more than another;
means and deviations are folded into the fitted weights at the end.

Shapes: N pairs, C and C' channels, H and W positions of the latents read, H' and W' of those given.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_unshuffle

from latent_guard.errors import InputError
from latent_guard.latent_clip.adapter import AdapterConfig, LatentAdapter
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.terminal import progress

HELD_OUT = 10  # every tenth pair
MIN_PAIRS = 20
STEPS, BATCH = 400, 64
LEARNING_RATE, WEIGHT_DECAY, WARMUP = 2e-3, 1e-4, 0.1
CHUNK = 128


@dataclass(frozen=True, eq=False)
class AdapterFit:
    """A fitted adapter, and how good it is on pairs that it was not fitted to.

    Attributes:
        explained: share of the variance of the model's own latents that the adapted ones explain, a mean over
            channels; 1 is all of it.
        agreement: mean cosine between the model's embeddings of adapted and of its own latents.
        fitted, held_out: pairs.
        seconds: of the fit alone.
    """

    adapter: LatentAdapter
    explained: float
    agreement: float
    fitted: int
    held_out: int
    seconds: float


def fit_adapter(
    model: LatentCLIP,
    config: AdapterConfig,
    read: Tensor,
    given: Tensor,
    *,
    seed: int = 0,
    steps: int = STEPS,
    show_progress: bool = True,
) -> AdapterFit:
    """Fit an adapter for a model to raw latents of the same images by two VAEs.

    The linear part is the least-squares solution between the latents. Where the config has convolutions, the whole
    adapter is then distilled: the frozen model shall embed adapted latents like its own (AdamW on 1 - cosine).

    Args:
        model: reads the latents that the adapter gives.
        config: of the adapter.
        read: (N, C, H, W), of the space ``config.reads``.
        given: (N, C', H', W'), of the space ``config.gives``.
        seed: of initial weights and batches.
        steps: of the distillation.
        show_progress: under a bar on stderr.

    Raises:
        InputError: too few pairs, shapes that do not fit the config or each other, or latents that are not finite.
        LatentSpaceMismatchError: the config gives latents of another space than the model reads.
    """
    started = time.perf_counter()
    model.require_space(config.gives, "the adapter gives latents")
    _check(config, read, given)
    torch.manual_seed(seed)
    adapter = LatentAdapter(config)
    held_out = torch.arange(len(read)) % HELD_OUT == HELD_OUT - 1
    inputs = adapter.to_coarse(read[~held_out].float())
    outputs = pixel_unshuffle(given[~held_out].float(), config.upscale)
    of_inputs, of_outputs = _Statistics.of(inputs), _Statistics.of(outputs)
    normalised = of_inputs.normalised(inputs)
    _solve(adapter.linear, normalised, of_outputs.normalised(outputs))
    if adapter.residual is not None:
        targets = _features(model, given[~held_out])
        _distil(_AdaptedModel(model, adapter, of_outputs), normalised, targets, seed, steps, show_progress)
    _fold(adapter, of_inputs, of_outputs)
    explained, agreement = _test(model, adapter, read[held_out].float(), given[held_out].float())
    seconds = time.perf_counter() - started
    return AdapterFit(adapter.eval(), explained, agreement, len(inputs), int(held_out.sum()), seconds)


@dataclass(frozen=True)
class _Statistics:
    """Mean and standard deviation (C,) of each channel."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> _Statistics:
        std, mean = torch.std_mean(latents, dim=(0, 2, 3))
        return cls(mean, std.clamp(min=1e-6))

    def normalised(self, latents: Tensor) -> Tensor:
        return (latents - self.mean[:, None, None]) / self.std[:, None, None]

    def denormalised(self, latents: Tensor) -> Tensor:
        return latents * self.std.to(latents)[:, None, None] + self.mean.to(latents)[:, None, None]


@dataclass(frozen=True)
class _AdaptedModel:
    """A model behind an adapter whose map is between normalised latents."""

    model: LatentCLIP
    adapter: LatentAdapter
    given: _Statistics

    def features(self, coarse: Tensor) -> Tensor:
        latents = self.adapter.to_fine(self.given.denormalised(self.adapter.mapped(coarse)))
        return self.model.encode_latents(latents, normalize=True).float()


@torch.no_grad()
def _solve(linear: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> None:
    """Least squares over all positions, by the normal equations in float64, which copy nothing as large as the data."""
    gram = torch.zeros(linear.in_channels + 1, linear.in_channels + 1, dtype=torch.float64)
    moments = torch.zeros(linear.in_channels + 1, linear.out_channels, dtype=torch.float64)
    for part_in, part_out in zip(inputs.split(CHUNK), outputs.split(CHUNK), strict=True):
        rows = pad(_rows(part_in), (0, 1), value=1.0)  # the last column's weight is the bias
        gram += rows.T @ rows
        moments += rows.T @ _rows(part_out)
    solution = torch.linalg.lstsq(gram, moments).solution.T
    linear.weight.copy_(solution[:, :-1, None, None])
    _bias(linear).copy_(solution[:, -1])


def _rows(latents: Tensor) -> Tensor:
    """One row a position, float64."""
    return latents.double().permute(0, 2, 3, 1).flatten(0, 2)


def _distil(whole: _AdaptedModel, inputs: Tensor, targets: Tensor, seed: int, steps: int, show_progress: bool) -> None:
    device = whole.model.logit_scale.device
    weights = list(whole.adapter.parameters())
    whole.adapter.to(device)
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    generator = torch.Generator().manual_seed(seed)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with progress(*columns, shown=show_progress, transient=False) as bar:
        task = bar.add_task("fitting", total=steps)
        for _ in range(steps):
            rows = torch.randint(len(inputs), (BATCH,), generator=generator)
            features = whole.features(inputs[rows].to(device))
            loss = 1 - (features * targets[rows].to(device)).sum(dim=-1).mean()
            optimizer.zero_grad()
            loss.backward(inputs=weights)
            optimizer.step()
            schedule.step()
            bar.advance(task)
    whole.adapter.cpu()


@torch.no_grad()
def _features(model: LatentCLIP, latents: Tensor) -> Tensor:
    device = model.logit_scale.device
    parts = latents.split(CHUNK)
    return torch.cat([model.encode_latents(part.to(device), normalize=True).float().cpu() for part in parts])


@torch.no_grad()
def _test(model: LatentCLIP, adapter: LatentAdapter, read: Tensor, given: Tensor) -> tuple[float, float]:
    """Variance explained, and agreement."""
    adapted = torch.cat([adapter(part) for part in read.split(CHUNK)])
    error = (adapted - given).double().square().sum((0, 2, 3))
    spread = (given - given.mean((0, 2, 3), keepdim=True)).double().square().sum((0, 2, 3))
    cosine = (_features(model, adapted) * _features(model, given)).sum(dim=-1)
    return float((1 - error / spread).mean()), float(cosine.mean())


@torch.no_grad()
def _fold(adapter: LatentAdapter, read: _Statistics, given: _Statistics) -> None:
    """Turn a map between normalised latents into one between the latents themselves."""
    residual = [layer for layer in adapter.residual or () if isinstance(layer, nn.Conv2d)]
    for convolution in (adapter.linear, *residual[:1]):
        convolution.weight /= read.std[:, None, None]
        _bias(convolution).sub_((convolution.weight * read.mean[:, None, None]).sum((1, 2, 3)))
    for convolution in (adapter.linear, *residual[-1:]):
        convolution.weight *= given.std[:, None, None, None]
        _bias(convolution).mul_(given.std)
    _bias(adapter.linear).add_(given.mean)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _check(config: AdapterConfig, read: Tensor, given: Tensor) -> None:
    if len(read) != len(given):
        raise InputError(f"{len(read)} and {len(given)} latents are no pairs")
    if len(read) < MIN_PAIRS:
        raise InputError(f"{len(read)} images are too few to fit an adapter to; give at least {MIN_PAIRS}")
    for latents, space in ((read, config.reads), (given, config.gives)):
        if latents.ndim != 4 or latents.shape[1] != space.channels:
            raise InputError(f"latents of shape {tuple(latents.shape)} are not of {space}")
        if not latents.isfinite().all():
            raise InputError(f"the latents of {space} are not finite; use a VAE in higher precision")
    for side in (2, 3):
        if read.shape[side] * config.upscale != given.shape[side] * config.downscale:
            raise InputError(f"latents of {tuple(read.shape[2:])} and {tuple(given.shape[2:])} positions are no pairs")
