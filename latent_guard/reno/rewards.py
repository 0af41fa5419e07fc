"""What noise can be optimised for: each reward says whether it reads latents or pixels, and is the better the higher.

Shapes: B images, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, logsigmoid

from latent_guard.bounds import require_number
from latent_guard.guidance.scoring import Scorer
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.reno.names import LATENT_CLIP, PIXEL_CLIP, SAFETY

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary
    from latent_guard.zero_shot.pixel_clip import PixelTwin

MOST_WEIGHT = 1e6
Score = Callable[[Tensor], Tensor]  # what the reward reads, (B, C, H, W) -> (B,); differentiable


class Reads(Enum):
    """What a reward is a function of."""

    LATENTS = "latents"  # raw, as the VAE decodes them, float32
    PIXELS = "pixels"  # in [-1, 1], float32; the decoder runs once an iteration if any reward reads them


@dataclass(frozen=True)
class Blur:
    """A reward averaged over noisy copies of a latent: what raises it must not depend on the last detail.

    Attributes:
        copies: how many; 0 reads the latent as it is.
        noise: standard deviation of what is added, as a share of each latent's own.
    """

    copies: int
    noise: float

    def of(self, score: Score) -> Score:
        """The score, averaged; the noises are the same at every call."""
        if self.copies == 0:
            return score

        drawn: list[Tensor] = []  # once, and brought to the device once: it would wait for that at every call

        def averaged(raw: Tensor) -> Tensor:
            if not drawn:
                generator = torch.Generator().manual_seed(0)
                drawn.append(self.noise * torch.randn(self.copies, *raw.shape[1:], generator=generator).to(raw))
            deviation = raw.detach().std(dim=(1, 2, 3), keepdim=True)
            return torch.stack([score(raw + deviation * noise) for noise in drawn[0]]).mean(dim=0)

        return averaged


SHARP, FOUR_COPIES = Blur(0, 0.0), Blur(4, 0.3)


class Reward(ABC):
    """Something to optimise noise for; a run optimises the sum of its rewards, each times its own ``weight``."""

    def __init__(self, name: str, reads: Reads, weight: float = 1.0) -> None:
        """Raises `InputError` unless the weight is over 0: what a reward is against, its negation is for."""
        require_number(f"reward {name}: the weight", weight, 0, MOST_WEIGHT, over=True)
        self.name, self.reads, self.weight = name, reads, weight

    @property
    def models(self) -> Sequence[nn.Module]:
        """What must not collect gradients while noise is optimised."""
        return ()

    def check(self, pipe: Any) -> None:  # noqa: B027  (not every reward asks something of the pipeline)
        """Raise where this reward cannot read what the pipeline makes."""

    @abstractmethod
    def bind(self, prompts: Sequence[str]) -> Score:
        """The reward of images of these B prompts, with whatever it needs of them computed once, here."""


class _LatentReward(Reward):
    """By a Latent-CLIP, of latents of the VAE that it was trained on.

    Without a canary the caller vouches that the pipeline's VAE is that one.
    """

    def __init__(self, model: LatentCLIP, canary: Canary | None, blur: Blur, name: str, weight: float) -> None:
        super().__init__(name, Reads.LATENTS, weight)
        self.model, self.canary, self.blur = model.eval(), canary, blur

    @property
    def models(self) -> Sequence[nn.Module]:
        return (self.model,)

    def check(self, pipe: Any) -> None:
        """Raises `LatentSpaceMismatchError` for another VAE."""
        PipelineLatents.of(pipe, self.model.config.latent_space, self.canary)


class LatentClipReward(_LatentReward):
    """How well a latent fits its prompt: Latent-CLIP's cosine times its logit scale (arXiv 2503.08455, section 5)."""

    def __init__(
        self,
        model: LatentCLIP,
        canary: Canary | None = None,
        blur: Blur = SHARP,
        *,
        name: str = LATENT_CLIP,
        weight: float = 1.0,
    ) -> None:
        """``blur`` costs its number of copies, and halves the smudges that score well (benchmarks/LOG.md)."""
        super().__init__(model, canary, blur, name, weight)

    def bind(self, prompts: Sequence[str]) -> Score:
        return self.blur.of(_clip_score(self.model, prompts, lambda latents: latents))


class SafetyReward(_LatentReward):
    """The log-probability that a latent shows none of a bank's categories; at most 0.

    Categories count as independent, their scores over the bank's thresholds for finished latents as log-odds. It
    levels off once nothing unsafe is likely, so that it does not go on to change what is safe already. By default it
    is that of four noisy copies: of the latent alone, the score falls and the object stays (benchmarks/LOG.md).
    """

    def __init__(
        self,
        model: LatentCLIP,
        bank: ConceptBank,
        canary: Canary | None = None,
        blur: Blur = FOUR_COPIES,
        *,
        name: str = SAFETY,
        weight: float = 1.0,
    ) -> None:
        """Raises `InputError` if the bank was made by another model."""
        super().__init__(model, canary, blur, name, weight)
        bank.check_made_by(model)
        self._scorer = Scorer(model, bank)

    def bind(self, prompts: Sequence[str]) -> Score:
        thresholds = self._scorer.thresholds(0.0).to(self._scorer.device)
        return self.blur.of(lambda raw: log_probability_of_none(self._scorer.scores(raw, 0.0) - thresholds))


class PixelClipReward(Reward):
    """The same by a CLIP on pixels, through the pipeline's decoder: what reading latents is compared with."""

    def __init__(self, twin: PixelTwin, *, name: str = PIXEL_CLIP, weight: float = 1.0) -> None:
        super().__init__(name, Reads.PIXELS, weight)
        self.twin = twin

    @property
    def models(self) -> Sequence[nn.Module]:
        return (cast("nn.Module", self.twin.model),)

    def bind(self, prompts: Sequence[str]) -> Score:
        return _clip_score(self.twin.model, prompts, self._sized)

    def _sized(self, pixels: Tensor) -> Tensor:
        side = self.twin.side
        if pixels.shape[-2:] == (side, side):
            return pixels
        return interpolate(pixels, (side, side), mode="bicubic", antialias=True)


class FunctionReward(Reward):
    """Any differentiable function of latents or pixels (B, C, H, W) and the B prompts; it gives (B,)."""

    def __init__(
        self, function: Callable[[Tensor, Sequence[str]], Tensor], name: str, reads: Reads, *, weight: float = 1.0
    ) -> None:
        super().__init__(name, reads, weight)
        self.function = function

    def bind(self, prompts: Sequence[str]) -> Score:
        return lambda inputs: self.function(inputs, prompts)


def log_probability_of_none(log_odds: Tensor) -> Tensor:
    """Of independent events with log-odds (B, K), the log-probability (B,) that none happens."""
    return logsigmoid(-log_odds).sum(dim=1)


def _clip_score(model: Any, prompts: Sequence[str], prepare: Score) -> Score:
    with torch.no_grad():
        texts = model.encode_text(list(prompts), normalize=True).float()
        scale: Tensor = model.logit_scale.exp().float()

    def score(inputs: Tensor) -> Tensor:
        features: Tensor = model.encode_latents(prepare(inputs).to(texts.device), normalize=True)
        cosines: Tensor = (features.float() * texts).sum(dim=1)
        return scale * cosines

    return score
