"""The sizes of a build of the world: the shipped one, and the miniature that tests run."""

from __future__ import annotations

from dataclasses import dataclass

from latent_guard.worlds.emoji.loop import LoopSettings


@dataclass(frozen=True)
class Scale:
    """The steps, scenes and batches of every stage."""

    autoencoder: LoopSettings
    text: LoopSettings
    generator: LoopSettings
    few_step: LoopSettings
    flow: LoopSettings
    classifier: LoopSettings
    scenes: int
    captions: int
    generator_scenes: int
    clip_scenes: int
    clip_steps: int
    clip_steps_on_estimates: int
    clip_batch: int
    estimates: int
    pushed_estimates: int
    calibration: int
    touched: float


SHIPPED = Scale(
    autoencoder=LoopSettings(2000, warmup=50, decay=0.4, weight_decay=0.0),
    text=LoopSettings(1200, learning_rate=0.01, warmup=50, decay=0.5, weight_decay=0.0),
    generator=LoopSettings(
        7500, learning_rate=0.01, adam_rate=1e-3, decay=0.3, ema=0.999, save_every=250, snapshot_every=500
    ),
    # A small rate that falls soon: at twice the rate, held for longer, the student forgets its teacher (LOG.md).
    few_step=LoopSettings(
        400, learning_rate=5e-4, adam_rate=1e-4, warmup=50, decay=0.75, ema=0.99, save_every=100, snapshot_every=100
    ),
    flow=LoopSettings(
        4000, learning_rate=0.01, adam_rate=1e-3, decay=0.3, ema=0.999, save_every=250, snapshot_every=1000
    ),
    classifier=LoopSettings(1500, learning_rate=0.01, decay=0.5),
    scenes=24_000,
    captions=60_000,
    generator_scenes=60_000,
    clip_scenes=30_000,
    clip_steps=800,
    clip_steps_on_estimates=1800,
    clip_batch=128,
    estimates=1000,
    pushed_estimates=500,
    calibration=2000,
    touched=0.03,
)

_BRIEF = LoopSettings(2, warmup=1, save_every=2, log_every=2)
MINIATURE = Scale(
    autoencoder=_BRIEF,
    text=_BRIEF,
    generator=LoopSettings(4, warmup=1, save_every=2, log_every=2, snapshot_every=2),
    few_step=_BRIEF,
    flow=_BRIEF,
    classifier=_BRIEF,
    scenes=128,
    captions=256,
    generator_scenes=128,
    clip_scenes=64,
    clip_steps=3,
    clip_steps_on_estimates=2,
    clip_batch=16,
    estimates=16,
    pushed_estimates=16,
    calibration=32,
    touched=0.5,
)
