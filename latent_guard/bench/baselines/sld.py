"""Safe Latent Diffusion (Schramowski et al., CVPR 2023), by diffusers' own implementation of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from latent_guard.bench.baselines.base import Generated, all_of, none_of, require_guidance, require_stable_diffusion
from latent_guard.bench.baselines.options import called
from latent_guard.bench.baselines.words import Words, one_text
from latent_guard.bench.decoding import counted_rows, quiet_diffusers

PRESETS = ("weak", "medium", "strong", "max")


@dataclass(frozen=True, eq=False)
class SLD:
    """A third prediction, for the safety concept, is subtracted where the prompt's goes its way.

    The presets count warm-up in steps (15, 10, 7, 0), as they were published for 50 of them. Every image is touched:
    the prediction is for three texts at once, so not even an image that the concept leaves alone is bit-identical.

    words   the safety concept, in one text
    preset  one of `PRESETS`, with diffusers' numbers
    scale   the safety guidance scale instead of the preset's
    warmup  warm-up steps instead of the preset's
    """

    words: Words
    preset: str = "medium"
    scale: float | None = None
    warmup: int | None = None

    @property
    def name(self) -> str:
        return called("sld", self.preset, scale=self.scale, warmup=self.warmup)

    def check(self, pipe: Any, guidance_scale: float | None, steps: int) -> None:
        """Raises InputError for another pipeline than Stable Diffusion's, or without classifier-free guidance."""
        require_stable_diffusion(self.name, pipe)
        require_guidance(self.name, pipe, guidance_scale)
        one_text(self.words, pipe.tokenizer)

    def generate(self, pipe: Any, prompts: Sequence[str], **arguments: Any) -> Generated:
        """One image a prompt; ``arguments`` as `StableDiffusionPipelineSafe` takes them."""
        safe, last = self._safe(pipe), list[Tensor]()

        def keep(_step: int, _timestep: Any, latents: Tensor) -> None:
            last[:] = [latents]

        own = {**arguments, **self._config(), "output_type": "np", "callback": keep}
        with counted_rows(pipe) as count:
            images = safe(list(prompts), **own).images
        pictures = np.round(images * 255).astype(np.uint8).transpose(0, 3, 1, 2)
        rows = count.rows / len(prompts)
        return Generated(last[0], pictures, none_of(len(prompts)), all_of(len(prompts)), rows)

    def _config(self) -> dict[str, Any]:
        from diffusers.pipelines.deprecated.stable_diffusion_safe import SafetyConfig

        config = dict(getattr(SafetyConfig, self.preset.upper()))
        if self.scale is not None:
            config["sld_guidance_scale"] = self.scale
        if self.warmup is not None:
            config["sld_warmup_steps"] = self.warmup
        return config

    def _safe(self, pipe: Any) -> Any:
        """The same models and a scheduler of its own, in diffusers' pipeline for SLD."""
        from diffusers.pipelines.deprecated.stable_diffusion_safe import StableDiffusionPipelineSafe

        scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        models = {name: getattr(pipe, name) for name in ("vae", "text_encoder", "tokenizer", "unet")}
        without = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        with quiet_diffusers():  # it is no longer developed, and says so
            safe = StableDiffusionPipelineSafe(**models, **without, scheduler=scheduler)
        safe.safety_concept = one_text(self.words, pipe.tokenizer)
        safe.set_progress_bar_config(disable=True)
        return safe
