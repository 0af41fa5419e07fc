"""Tuning without labels: in estimates on the way, a Latent-CLIP learns to see what a teacher sees in finished images.

Shapes: B samples, T texts, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latent_guard.errors import GuardError, InputError
from latent_guard.files.atomic import atomic_file
from latent_guard.fitting.augment import augmented
from latent_guard.fitting.base import with_noise_input
from latent_guard.fitting.losses import Both, Loss
from latent_guard.fitting.record import Recording
from latent_guard.fitting.teachers import Texts
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.terminal import track
from latent_guard.training.optimizers import BETAS, MAX_GRADIENT_NORM, rate_factor_at

RESUME = "resume.pt"


@dataclass(frozen=True)
class TuneSettings:
    """The schedule of a tuning.

    Attributes:
        steps, batch: how many steps, and samples in each.
        learning_rate: of AdamW at its peak; it rises over ``warmup`` steps and falls along half a cosine.
    """

    steps: int = 600
    batch: int = 64
    learning_rate: float = 5e-4
    warmup: int = 50
    weight_decay: float = 0.05
    save_every: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """Generations, and the distributions over the texts (N, T) that their finished images are to have."""

    recording: Recording
    wanted: Tensor


def tune(
    base: LatentCLIP,
    lessons: Sequence[Lesson],
    texts: Texts,
    folder: Path,
    settings: TuneSettings,
    sharpness: float = 1.0,
    *,
    loss_of: Loss | None = None,
    layers: Sequence[str] = ("",),
) -> LatentCLIP:
    """Tune a copy of ``base`` on recorded estimates; a run that was killed resumes from its last checkpoint.

    At every estimate and its noise level, the student's distributions over categories and over the texts are to be
    those of the finished image of the same generation: Kullback-Leibler divergence, as in knowledge distillation
    (Hinton et al. 2015, section 2). Student and teacher compare with the same texts, each by its own text tower. The
    student's stays as it is, so that concepts in words stay valid.

    Args:
        base: an untouched Latent-CLIP; it is not changed.
        lessons: what is learnt from; every generation counts alike.
        texts: the T texts.
        folder: of checkpoints.
        settings: schedule.
        sharpness: what the student's factor on cosines is multiplied with.
        loss_of: compares the student's logits over the texts (B, T) with what is wanted (B, T); by default over
            categories and over all texts.
        layers: how the names of the image tower's weights that learn begin.

    Raises:
        GuardError: the loss is no longer finite.
        InputError: the folder's checkpoint is of other settings, or the disk is full.
    """
    student = with_noise_input(base)
    samples = _Samples.of(lessons)
    compare = loss_of or Both(texts)
    texts_of_student = texts.embedded_by(base)
    student.logit_scale.data += math.log(sharpness)
    scale = float(student.logit_scale.detach().exp())
    trained = _learning(student, layers)
    optimizer = _optimizer(trained, settings)
    start = _resume(folder, student, optimizer, settings)
    student.train()
    for step in track(range(start, settings.steps), f"tuning ({folder.name})"):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_factor_at(step, settings)
        generator = torch.Generator().manual_seed(1_000_003 * settings.seed + step)
        latents, levels, wanted = (part.to(base.logit_scale) for part in samples.batch(settings.batch, generator))
        latents = augmented(latents, base.config.latent_space, generator)
        features = student.encode_latents(latents, levels, normalize=True)
        loss = compare(scale * features @ texts_of_student.T, wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _require_finite(loss, step + 1)
            _save(folder, step + 1, student, optimizer, settings)
    return student.eval().requires_grad_(False)


def _learning(student: LatentCLIP, layers: Sequence[str]) -> list[nn.Parameter]:
    """The weights that learn, those of the image tower whose names begin so; all others are frozen."""
    student.requires_grad_(False)
    trained = [weight for name, weight in student.visual.named_parameters() if name.startswith(tuple(layers))]
    for weight in trained:
        weight.requires_grad_(True)
    return trained


def _require_finite(loss: Tensor, step: int) -> None:
    if not math.isfinite(float(loss.detach())):
        raise GuardError(f"the loss of the tuning is not finite at step {step}; fit in float32")


@dataclass(frozen=True)
class _Samples:
    """Raw estimates of all lessons, as shards (B, S, C, H, W), with the row of ``wanted`` at which each begins."""

    shards: tuple[Tensor, ...]
    levels: tuple[Tensor, ...]
    starts: Tensor
    wanted: Tensor

    @classmethod
    def of(cls, lessons: Sequence[Lesson]) -> _Samples:
        shards = [shard for lesson in lessons for shard in lesson.recording.batches()]
        levels = [lesson.recording.noise_levels for lesson in lessons for _ in lesson.recording.shards]
        ends = torch.tensor([len(shard) for shard in shards]).cumsum(0)
        starts = torch.cat([torch.zeros(1, dtype=torch.long), ends])
        return cls(tuple(shards), tuple(levels), starts, torch.cat([lesson.wanted for lesson in lessons]))

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Estimates (B, C, H, W), their noise levels (B,) and what is wanted (B, T)."""
        rows = torch.randint(len(self.wanted), (size,), generator=generator)
        shares = torch.rand(size, generator=generator)
        places = torch.searchsorted(self.starts, rows, right=True) - 1
        latents, levels = [], []
        for row, place, share in zip(rows.tolist(), places.tolist(), shares.tolist(), strict=True):
            look = int(share * len(self.levels[place]))
            latents.append(self.shards[place][row - int(self.starts[place]), look])
            levels.append(self.levels[place][look])
        return torch.stack(latents), torch.stack(levels), self.wanted[rows]


def _optimizer(trained: Sequence[nn.Parameter], settings: TuneSettings) -> torch.optim.Optimizer:
    matrices = [weight for weight in trained if weight.ndim >= 2]
    vectors = [weight for weight in trained if weight.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS)


def _save(
    folder: Path, step: int, student: LatentCLIP, optimizer: torch.optim.Optimizer, settings: TuneSettings
) -> None:
    state = {
        "step": step,
        "settings": vars(settings),
        "visual": student.visual.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic_file(folder / RESUME) as partial:
        torch.save(state, partial)


def _resume(folder: Path, student: LatentCLIP, optimizer: torch.optim.Optimizer, settings: TuneSettings) -> int:
    path = folder / RESUME
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings"] != vars(settings):
        raise InputError(f"{path} is of a tuning with other settings; remove it, or give another folder")
    student.visual.load_state_dict(state["visual"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
