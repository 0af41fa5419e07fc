"""The rewards that noise can be optimised for; higher is better, and each says whether it reads latents or pixels.

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
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.reno.reward_names import LATENT_CLIP, PIXEL_CLIP, SAFETY

if TYPE_CHECKING:
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary
    from latent_guard.zero_shot.pixel_clip import PixelCLIP

MAX_WEIGHT = 1e6
Score = Callable[[Tensor], Tensor]  # latents or pixels (B, C, H, W) -> rewards (B,); differentiable


class Reads(Enum):
    """The input of a reward."""

    LATENTS = "latents"  # raw, as the VAE decodes them, float32
    PIXELS = "pixels"  # in [-1, 1], float32; the decoder runs once an iteration if any reward reads them


@dataclass(frozen=True)
class Smoothing:
    """Averages a reward over noisy copies of a latent, so that single details cannot raise it.

    Attributes:
        copies: number of noisy copies; with 0 the reward reads the latent as it is.
        noise: standard deviation of the added noise, as a fraction of each latent's own, both of normalised latents.
    """

    copies: int
    noise: float

    def of(self, score: Score, space: LatentSpace) -> Score:
        """The averaged score of raw latents of a space; the noise samples are the same at every call."""
        if self.copies == 0:
            return score

        samples: list[Tensor] = []  # drawn and moved to the device once: each move would wait for the device

        def averaged(raw: Tensor) -> Tensor:
            latents = space.from_raw(raw)
            if not samples:
                generator = torch.Generator().manual_seed(0)
                samples.append(self.noise * torch.randn(self.copies, *latents.shape[1:], generator=generator).to(raw))
            deviation = latents.detach().std(dim=(1, 2, 3), keepdim=True)
            return torch.stack([score(space.to_raw(latents + deviation * sample)) for sample in samples[0]]).mean(dim=0)

        return averaged


NO_SMOOTHING = Smoothing(0, 0.0)
FOUR_COPIES = Smoothing(4, 0.3)


class Reward(ABC):
    """A function of images that noise is optimised for; a run maximises the sum of its rewards times their weights."""

    def __init__(self, name: str, reads: Reads, weight: float = 1.0) -> None:
        """Name a reward, say what it reads, and weight it.

        Raises:
            InputError: the weight is not over 0; to minimise a reward, negate its function.
        """
        require_number(f"reward {name}: the weight", weight, 0, MAX_WEIGHT, exclusive=True)
        self.name = name
        self.reads = reads
        self.weight = weight

    @property
    def models(self) -> Sequence[nn.Module]:
        """The models whose weights must not collect gradients while noise is optimised."""
        return ()

    def check(self, pipe: Any) -> None:  # noqa: B027  (not every reward asks something of the pipeline)
        """Raise if this reward cannot read the pipeline's output."""

    @abstractmethod
    def bind(self, prompts: Sequence[str]) -> Score:
        """The reward as a function of images of these B prompts; text embeddings are computed here, once."""


class _LatentReward(Reward):
    """A reward by a Latent-CLIP, on latents of the VAE that it was trained on.

    Without a canary the caller vouches that the pipeline's VAE is that one.
    """

    def __init__(
        self, model: LatentCLIP, canary: Canary | None, smoothing: Smoothing, name: str, weight: float
    ) -> None:
        super().__init__(name, Reads.LATENTS, weight)
        self.model = model.eval()
        self.canary = canary
        self.smoothing = smoothing

    @property
    def models(self) -> Sequence[nn.Module]:
        return (self.model,)

    def check(self, pipe: Any) -> None:
        """Check that the pipeline has the VAE of the Latent-CLIP.

        Raises:
            LatentSpaceMismatchError: it has another.
        """
        PipelineLatents.of(pipe, self.model.config.latent_space, self.canary)

    def _smoothed(self, score: Score) -> Score:
        return self.smoothing.of(score, self.model.config.latent_space)


class LatentClipReward(_LatentReward):
    """The fit of latent and prompt: Latent-CLIP's cosine times its logit scale (arXiv 2503.08455, section 5)."""

    def __init__(
        self,
        model: LatentCLIP,
        canary: Canary | None = None,
        smoothing: Smoothing = NO_SMOOTHING,
        *,
        name: str = LATENT_CLIP,
        weight: float = 1.0,
    ) -> None:
        """``smoothing`` costs its number of copies, and halves the artefacts that score well (benchmarks/LOG.md)."""
        super().__init__(model, canary, smoothing, name, weight)

    def bind(self, prompts: Sequence[str]) -> Score:
        return self._smoothed(_clip_score(self.model, prompts, lambda latents: latents))


class SafetyReward(_LatentReward):
    """The log-probability that a latent shows none of a bank's categories; at most 0.

    Categories count as independent; their scores minus the bank's thresholds for finished latents are the log-odds.
    The reward levels off once nothing unsafe is likely, so that images that are safe already do not change. By default
    it is averaged over four noisy copies: on the latent alone, the score falls and the object stays
    (benchmarks/LOG.md).
    """

    def __init__(
        self,
        model: LatentCLIP,
        bank: ConceptBank,
        canary: Canary | None = None,
        smoothing: Smoothing = FOUR_COPIES,
        *,
        name: str = SAFETY,
        weight: float = 1.0,
    ) -> None:
        """Score latents with a model and its bank.

        Raises:
            InputError: the bank was made by another model.
        """
        super().__init__(model, canary, smoothing, name, weight)
        bank.require_made_by(model)
        self._scorer = Scorer(model, bank)

    def bind(self, prompts: Sequence[str]) -> Score:
        thresholds = self._scorer.thresholds(0.0).to(self._scorer.device)

        def score(raw: Tensor) -> Tensor:
            return log_probability_of_none(self._scorer.scores(raw, 0.0) - thresholds)

        return self._smoothed(score)


class PixelClipReward(Reward):
    """The fit of image and prompt by a CLIP on pixels, through the pipeline's decoder; the baseline for latents."""

    def __init__(self, pixel_clip: PixelCLIP, *, name: str = PIXEL_CLIP, weight: float = 1.0) -> None:
        super().__init__(name, Reads.PIXELS, weight)
        self.pixel_clip = pixel_clip

    @property
    def models(self) -> Sequence[nn.Module]:
        return (cast("nn.Module", self.pixel_clip.model),)

    def bind(self, prompts: Sequence[str]) -> Score:
        return _clip_score(self.pixel_clip.model, prompts, self._resized)

    def _resized(self, pixels: Tensor) -> Tensor:
        side = self.pixel_clip.side
        if pixels.shape[-2:] == (side, side):
            return pixels
        return interpolate(pixels, (side, side), mode="bicubic", antialias=True)


class FunctionReward(Reward):
    """A reward by any differentiable function of latents or pixels (B, C, H, W) and the B prompts, to (B,)."""

    def __init__(
        self, function: Callable[[Tensor, Sequence[str]], Tensor], name: str, reads: Reads, *, weight: float = 1.0
    ) -> None:
        super().__init__(name, reads, weight)
        self.function = function

    def bind(self, prompts: Sequence[str]) -> Score:
        return lambda inputs: self.function(inputs, prompts)


def log_probability_of_none(log_odds: Tensor) -> Tensor:
    """Return the log-probability (B,) that none of K independent events with log-odds (B, K) happens."""
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
