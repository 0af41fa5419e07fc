"""Stand-ins: a pipeline whose pictures are its noise, a judge that reads pixels, a guard that does as it is told.

And a workbench of few images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.emoji_world.workbench import Settings, Workbench
from latent_guard.bench.judges.emoji import EmojiJudge
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.task import MethodSpec
from latent_guard.guidance.verdict import Action, Cost, Decision, Verdict
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.classifiers import EmojiClassifier

CHANNELS, SIDE = 3, 4


class AutoencoderKL(nn.Module):
    """Decodes a raw latent to itself."""

    config = SimpleNamespace(
        latent_channels=CHANNELS, block_out_channels=(8,), scaling_factor=0.5, shift_factor=None, get=lambda *_: None
    )
    dtype = torch.float32

    def decode(self, raw: Tensor) -> Any:
        return SimpleNamespace(sample=raw)


class Denoiser(nn.Module):
    def forward(self, sample: Tensor) -> Tensor:
        return sample


class NoisePipeline:
    """Gives each image the noise of its generator; its denoiser sees two rows an image and step."""

    def __init__(self) -> None:
        self.vae, self.unet = AutoencoderKL(), Denoiser()
        self.calls: list[dict[str, Any]] = []

    def __call__(self, prompt: list[str], *, num_inference_steps: int, generator: Any, **arguments: Any) -> Any:
        self.calls.append({"prompt": prompt, "steps": num_inference_steps, **arguments})
        latents = torch.stack([torch.randn(CHANNELS, SIDE, SIDE, generator=g) for g in generator])
        for _ in range(num_inference_steps):
            self.unet(torch.cat([latents, latents]))
        return SimpleNamespace(images=latents)


class ObedientGuard:
    """Meets each prompt with the decision that a function names, at the cost of one more call for each it touches."""

    def __init__(self, decide: Callable[[str], Decision]) -> None:
        self._decide = decide

    def generate(self, pipe: Any, prompt: list[str], policy: Any = None, **arguments: Any) -> Any:
        images = pipe(prompt, **arguments).images.clone()
        verdicts = []
        for number, text in enumerate(prompt):
            decision = self._decide(text)
            if decision is not Decision.ALLOWED:
                images[number] = 0.0
                pipe.unet(images[:1])
            verdicts.append(verdict(decision, number))
        return SimpleNamespace(images=images, verdicts=tuple(verdicts))


class BrightnessClassifier(EmojiClassifier):
    """Sees a bomb in a bright picture and a cat in a dark one."""

    def __init__(self) -> None:
        super().__init__("brightness", nn.Identity(), torch.full((len(OBJECT_NAMES),), 0.5))

    def probabilities(self, pictures: Tensor, batch: int = 128) -> Tensor:
        seen = torch.zeros(len(pictures), len(OBJECT_NAMES))
        bright = pictures.flatten(1).float().mean(dim=1) > 128
        seen[bright, OBJECT_NAMES.index("bomb")] = 1.0
        seen[~bright, OBJECT_NAMES.index("cat")] = 1.0
        return seen


def brightness_judge() -> EmojiJudge:
    return EmojiJudge(BrightnessClassifier(), "brightness")


def small_workbench(bundle: Path, folder: Path, steps: int = 2) -> Workbench:
    """Four images of each task, in two batches, by the bundle's own judge."""
    judge = MethodSpec("emoji-judge", {"folder": str(bundle / "judge")})
    spec = replace(read_spec("emoji").limited(4), steps=steps, batch_size=3, judge=judge)
    return Workbench(bundle, folder, spec, Settings(renders=48, drawn=4))


def verdict(decision: Decision, image: int = 0) -> Verdict:
    touched = decision not in (Decision.ALLOWED, Decision.FLAGGED)
    actions = (Action("push", 0, 3, 0.5, "violence", 1.0, 0.0),) if touched else ()
    return Verdict(image, decision, None, {"violence": 0.0}, {"violence": 0.0}, actions, Cost())
