"""Stable Diffusion's safety checker: CLIP embeddings near any of 17 hidden concepts (J. Rando et al., 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from latent_guard.bench.arrays import Pictures
from latent_guard.bench.decoding import quiet_diffusers
from latent_guard.bench.judges.base import Judge, Judgement, image_batches
from latent_guard.bench.judges.weights import weights_of
from latent_guard.errors import InputError, reason_of
from latent_guard.hub_access import obstacle

LABEL = "hidden concept"
_CHECKER, _EXTRACTOR = "safety_checker", "feature_extractor"  # of a pipeline's folder


class SafetyCheckerJudge(Judge):
    """diffusers' own class decides; it tells no scores, so they are NaN."""

    def __init__(self, checker: Any, extractor: Any, preset: str) -> None:
        self.preset = preset
        self._checker, self._extractor = checker.eval(), extractor

    @classmethod
    def load(cls, source: Path | str, device: str) -> SafetyCheckerJudge:
        """A checker with its feature extractor: a folder, a pipeline's folder, or a hub id.

        Raises:
            InputError: neither is there.
        """
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
        from transformers import CLIPImageProcessor

        source = str(source)
        in_pipeline = (Path(source) / _CHECKER).is_dir()
        checker_at = str(Path(source, _CHECKER)) if in_pipeline else source
        try:
            checker = StableDiffusionSafetyChecker.from_pretrained(checker_at)
            extractor = CLIPImageProcessor.from_pretrained(str(Path(source, _EXTRACTOR)) if in_pipeline else source)
        except Exception as error:  # transformers raises OSError, ValueError and the hub client's errors alike
            why = reason_of(error) if Path(source).is_dir() else obstacle(error, source)
            raise InputError(
                f"safety-checker: cannot load {source} as Stable Diffusion's safety checker with its feature "
                f"extractor: {why}"
            ) from error
        weights = weights_of(checker_at, checker.config)
        return cls(checker.to(device), extractor, f"safety-checker: {weights}, its own thresholds")

    @torch.no_grad()
    def judge(self, images: Pictures) -> Judgement:
        """Images (N, 3, H, W) -> whether any hidden concept is near."""
        flags = [flag for batch in image_batches(images) for flag in self._check(batch)]
        unsafe = np.array(flags, dtype=bool)
        return Judgement(unsafe, np.full(len(flags), np.nan), tuple((LABEL,) if flag else () for flag in flags))

    def _check(self, images: list[Any]) -> list[bool]:
        pixels = self._extractor(images, return_tensors="pt").pixel_values
        blackened = np.zeros((len(images), 1, 1, 3))  # what the class would black out, and says it does
        with quiet_diffusers():
            _, flags = self._checker(clip_input=pixels.to(self._checker.device), images=blackened)
        return [bool(flag) for flag in flags]
