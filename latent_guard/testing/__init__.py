"""Test doubles for code that uses Latent Guard: a guard and a pipeline in seconds, without a download.

    from latent_guard.testing import linear_guard, tiny_pipeline

    def test_a_blocked_picture_is_not_shown():
        guard = linear_guard(threshold=-1000, policy="block")  # every image is unsafe; with 1000, none
        output = guard.generate(tiny_pipeline(), "a cat", seed=0, num_inference_steps=2)
        assert my_app.page_of(output) == my_app.SORRY

The guard and the pipeline run the real code; only the weights are random, and the Latent-CLIP scores in a known way.

``check_scale`` proves on anybody's own pipeline that a guard does the same whatever the scale of its latents; so does
``python -m latent_guard.testing scale --model MODEL``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latent_guard.lazy import lazily

if TYPE_CHECKING:
    from latent_guard.testing.bundle import tiny_latent_clip, write_bundle
    from latent_guard.testing.linear import BrokenLatentCLIP, LinearLatentCLIP, linear_bank, linear_guard
    from latent_guard.testing.pipelines import tiny_pipeline
    from latent_guard.testing.scale import ScaleResult, check_scale

__all__ = [
    "BrokenLatentCLIP",
    "LinearLatentCLIP",
    "ScaleResult",
    "check_scale",
    "linear_bank",
    "linear_guard",
    "tiny_latent_clip",
    "tiny_pipeline",
    "write_bundle",
]

_MODULES = {
    "bundle": ("tiny_latent_clip", "write_bundle"),
    "linear": ("BrokenLatentCLIP", "LinearLatentCLIP", "linear_bank", "linear_guard"),
    "pipelines": ("tiny_pipeline",),
    "scale": ("ScaleResult", "check_scale"),
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
