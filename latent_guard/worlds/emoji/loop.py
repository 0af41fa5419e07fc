"""The one training loop of the world's own models: seeded by step, so that a killed run resumes where it stopped."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from latent_guard.devices import has_fast_bfloat16
from latent_guard.files.atomic import atomic_file, write_atomic
from latent_guard.training.optimizers import Muon

logger = logging.getLogger(__name__)

_RESUME = "resume.pt"
SNAPSHOTS = "snapshots"
_MIN_MATRIX_SIDE = 8
# over tokens as few as these, plain attention is faster on a CPU than the fused kernel
ATTENTION = {"cpu": [SDPBackend.MATH], "cuda": [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]}
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class LoopSettings:
    """The schedule of a training run.

    Filters and matrices learn by Muon at ``learning_rate``; biases, norms and embeddings by AdamW at ``adam_rate``.

    Attributes:
        decay: the last fraction of the steps, over which the learning rate falls linearly to zero.
        ema: decay of the exponential moving average of the weights, None for none.
        clip: maximum gradient norm.
        snapshot_every: steps between copies of the weights that are kept in ``snapshots/``, None for none.
    """

    steps: int
    learning_rate: float = 0.02
    adam_rate: float = 2e-3
    warmup: int = 100
    decay: float = 0.25
    weight_decay: float = 0.01
    ema: float | None = None
    clip: float = 1.0
    save_every: int = 500
    log_every: int = 100
    snapshot_every: int | None = None


def fit(model: M, loss_at: Callable[[int], Tensor], settings: LoopSettings, folder: Path) -> M:
    """Minimise ``loss_at(step)`` over ``model``'s trainable weights, resuming from ``folder`` if it holds a run.

    ``loss_at`` must draw its batch and its noise from the step number alone. Arithmetic is bfloat16 where autocast
    allows it and the processor supports it.

    Returns:
        The averaged copy of the model where ``settings.ema`` is set, else the model itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device.type
    optimizers = _optimizers(model, settings)
    average = copy.deepcopy(model).eval().requires_grad_(False) if settings.ema else None
    start = _resume(folder, model, optimizers, average)
    model.train()
    total = 0.0
    began = time.perf_counter()
    for step in range(start, settings.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate_factor_at(step, settings)
        torch.manual_seed(step)
        with torch.autocast(device, torch.bfloat16, enabled=has_fast_bfloat16(device)), sdpa_kernel(ATTENTION[device]):
            loss = loss_at(step)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if average is not None and settings.ema is not None:
            _update_average(average, model, min(settings.ema, (step + 1) / (step + 10)))
        total += float(loss.detach())
        if (step + 1) % settings.log_every == 0:
            seconds = (time.perf_counter() - began) / settings.log_every
            logger.info(
                "%s step %d loss %.5f, %.3f s a step", folder.name, step + 1, total / settings.log_every, seconds
            )
            total = 0.0
            began = time.perf_counter()
        if settings.snapshot_every and (step + 1) % settings.snapshot_every == 0:
            _save_snapshot(folder, step + 1, average if average is not None else model)
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _save(folder, step + 1, model, optimizers, average)
    return (average if average is not None else model).eval()


def start_from(folder: Path, model: nn.Module, step: int, settings: LoopSettings) -> None:
    """Write a checkpoint from which ``fit`` resumes at ``step`` with a model's weights and fresh optimisers."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder, step, model, _optimizers(model, settings), model if settings.ema else None)


def rate_factor_at(step: int, settings: LoopSettings) -> float:
    """The factor of the learning rates: linear warm-up, constant 1, linear decay at the end (``settings.decay``)."""
    rise = (step + 1) / max(1, settings.warmup)
    fall = (settings.steps - step) / max(1.0, math.ceil(settings.decay * settings.steps))
    return min(1.0, rise, fall)


def _optimizers(model: nn.Module, settings: LoopSettings) -> list[torch.optim.Optimizer]:
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    trained = [p for p in model.parameters() if p.requires_grad]
    hidden = [p for p in trained if p.ndim >= 2 and min(p.flatten(1).shape) >= _MIN_MATRIX_SIDE and id(p) not in tables]
    chosen = {id(p) for p in hidden}
    remaining = [p for p in trained if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(hidden, settings.learning_rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(remaining, settings.adam_rate, betas=(0.9, 0.99), weight_decay=0.0, foreach=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


@torch.no_grad()
def _update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def _save(
    folder: Path, step: int, model: nn.Module, optimizers: list[torch.optim.Optimizer], average: nn.Module | None
) -> None:
    state = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    if average is not None:
        state["average"] = average.state_dict()
    with atomic_file(folder / _RESUME) as partial:
        torch.save(state, partial)


def _save_snapshot(folder: Path, step: int, model: nn.Module) -> None:
    weights = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(folder / SNAPSHOTS / f"{step:06d}.safetensors", save(weights))


def _resume(folder: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], average: nn.Module | None) -> int:
    path = folder / _RESUME
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    if average is not None:
        average.load_state_dict(state["average"])
    return int(state["step"])
