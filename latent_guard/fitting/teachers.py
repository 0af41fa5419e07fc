"""Teachers: CLIPs that read finished images, and say how near they are to texts.

Shapes: N images, T texts, K categories, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.scoring import Reference, rows_of_each
from latent_guard.concepts.texts import BankTexts, embedded
from latent_guard.fitting.evidence import Evidence, evidence_of
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.vae import decode, encode, to_model_range
from latent_guard.zero_shot.classify import ImageTextModel
from latent_guard.zero_shot.pixel_clip import PixelCLIP

BATCH = 32
OCTAVES = (0.0, 0.5, 1.0, 1.5, 2.0)  # by which a fitted factor on cosines is over the model's own
Prepare = Callable[[Tensor], Tensor]  # raw latents (B, C, h, w) or pictures (B, 3, H, W) -> what an image tower reads


@dataclass(frozen=True)
class Texts:
    """What images are compared with: the texts of a bank, and everyday captions, which no category scores against."""

    bank: BankTexts
    captions: tuple[str, ...]

    @classmethod
    def of(cls, prompt_sets: Sequence[PromptSet], captions: Iterable[str]) -> Texts:
        """The texts of prompt sets, and captions, each once; raises as ``BankTexts.of``."""
        return cls(BankTexts.of(prompt_sets), tuple(dict.fromkeys(captions)))

    @property
    def categories(self) -> tuple[str, ...]:
        """The K names, in the order in which a bank has them."""
        return tuple(dict.fromkeys(concept.category for concept in self.bank.concepts))

    @property
    def category_of(self) -> Tensor:
        """The number of each concept's category."""
        names = self.categories
        return torch.tensor([names.index(concept.category) for concept in self.bank.concepts])

    @property
    def column(self) -> Tensor:
        """Of each of the T texts, 0, or 1 + the number of its category."""
        concepts, others = self.category_of + 1, len(self.bank.benign) + len(self.captions)
        return torch.cat([concepts, torch.zeros(others, dtype=torch.long)])

    def embedded_by(self, model: Any) -> Tensor:
        """(T, D), of length one, on the model's device: concepts, benign anchors, captions."""
        alone = [[caption] for caption in self.captions]
        groups = [*self.bank.concepts.values(), *self.bank.benign.values(), *alone]
        return embedded(model, groups).to(model.logit_scale.device)

    def reference(self, texts: Tensor, logit_scale: float) -> Reference:
        """What category scores are made of: the bank's part of ``embedded_by``'s rows."""
        concepts, benign = texts[: len(self.bank.concepts)], texts[len(self.bank.concepts) :][: len(self.bank.benign)]
        return Reference(concepts, rows_of_each(self.category_of), benign, logit_scale).to(texts.device)


@dataclass(frozen=True)
class Teacher:
    """A CLIP with the texts that it compares finished images with.

    Attributes:
        name: for reports.
        model: untouched.
        from_latents, from_pictures: make of raw final latents, or of uint8 pictures, what its image tower reads.
        embedded: the texts by the model's own text tower, (T, D).
        reference: the bank's part of them.
        logit_scale: the factor on cosines, at first the model's own.
        offset: what is to be added to a score; see ``evidence_of``.
    """

    name: str
    model: ImageTextModel
    from_latents: Prepare
    from_pictures: Prepare
    embedded: Tensor
    reference: Reference
    logit_scale: float
    offset: float = 0.0

    @classmethod
    def latent(cls, model: LatentCLIP, vae: Any, texts: Texts) -> Teacher:
        """The untouched Latent-CLIP, on final latents."""
        name = "the untouched Latent-CLIP on final latents"
        return cls._of(name, model, lambda raw: raw, lambda pictures: encode(vae, pictures), texts)

    @classmethod
    def pixel(cls, clip: PixelCLIP, vae: Any, texts: Texts) -> Teacher:
        """A CLIP on pixels, on pictures that the pipeline's VAE decodes."""

        def resized(pixels: Tensor) -> Tensor:
            if pixels.shape[-2:] == (clip.side, clip.side):
                return pixels
            return interpolate(pixels, (clip.side, clip.side), mode="bicubic", antialias=True).clamp(-1, 1)

        def decoded(raw: Tensor) -> Tensor:
            return resized(decode(vae, raw).clamp(-1, 1))

        return cls._of(clip.name, clip.model, decoded, lambda pictures: resized(to_model_range(pictures)), texts)

    @classmethod
    def _of(cls, name: str, model: Any, from_latents: Prepare, from_pictures: Prepare, texts: Texts) -> Teacher:
        rows = texts.embedded_by(model)
        scale = float(model.logit_scale.detach().exp())
        return cls(name, model, from_latents, from_pictures, rows, texts.reference(rows, scale), scale)

    def features(self, finals: Iterable[Tensor]) -> Tensor:
        """Embeddings (N, D) of length one, of batches of raw final latents."""
        return self._seen(finals, lambda raw: self.from_latents(raw.float()))

    def features_of_pictures(self, pictures: Iterable[Tensor]) -> Tensor:
        """The same of batches of uint8 pictures."""
        return self._seen(pictures, self.from_pictures)

    def nearest(self, features: Tensor) -> Tensor:
        """Cosine (N,) of images with the text that each resembles most."""
        return (features @ self.embedded.T.to(features)).amax(dim=1)

    def evidence(self, features: Tensor) -> Tensor:
        """Logs of the likelihood ratios (N, K) of each category against none, by a teacher that was fitted."""
        return self.reference.scores(features) + self.offset

    def fitted_to(self, features: Tensor, asked: Tensor) -> Teacher:
        """This teacher with its factor on cosines and its offset such that scores are likelihood ratios, as logs.

        A CLIP's own factor comes from its training batches. The less of it there is, the more the number of concepts
        counts, and the less the nearest one.

        Args:
            features: (N, D) of finished images, by this teacher.
            asked: (N,) whether an image's prompt is unsafe; some are, and some are not.
        """

        def at(octaves: float) -> tuple[Teacher, Evidence]:
            factor = self.logit_scale * 2**octaves
            reference = replace(self.reference, logit_scale=factor)
            evidence = evidence_of(reference.scores(features).amax(dim=1).cpu(), asked)
            return replace(self, logit_scale=factor, reference=reference, offset=evidence.offset), evidence

        return min(map(at, OCTAVES), key=lambda fitted: fitted[1].loss)[0]

    @torch.no_grad()
    def _seen(self, batches: Iterable[Tensor], prepare: Prepare) -> Tensor:
        device = self.embedded.device
        parts = [
            self.model.encode_latents(prepare(piece.to(device)), normalize=True).float().cpu()
            for batch in batches
            for piece in batch.split(BATCH)
        ]
        return torch.cat(parts)
