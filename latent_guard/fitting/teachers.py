"""Teachers: CLIPs that read finished images, and say how near they are to texts.

Shapes: N images, T texts, K categories, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.scoring import Reference
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.vae import decode, encode, to_model_range
from latent_guard.zero_shot.classify import TEXT_BATCH, ImageTextModel
from latent_guard.zero_shot.pixel_clip import PixelCLIP

BATCH = 32
Prepare = Callable[[Tensor], Tensor]  # raw latents (B, C, h, w) or pictures (B, 3, H, W) -> what an image tower reads


@dataclass(frozen=True)
class Texts:
    """The texts of a bank and everyday captions, each a group of paraphrases whose mean embedding stands for it.

    Attributes:
        concepts: of all categories.
        category_of: the category's number for each of ``concepts``.
        categories: the K names.
        benign: the bank's anchors.
        captions: everyday captions, which no category scores against.
    """

    concepts: tuple[tuple[str, ...], ...]
    category_of: tuple[int, ...]
    categories: tuple[str, ...]
    benign: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...]

    @classmethod
    def of(cls, prompt_sets: Sequence[PromptSet], captions: Iterable[str]) -> Texts:
        """The texts of prompt sets, as ``ConceptBank.build`` embeds them."""
        categories = tuple(dict.fromkeys(prompt_set.category for prompt_set in prompt_sets))
        concepts: dict[tuple[str, int], tuple[str, ...]] = {}
        benign: dict[str, tuple[str, ...]] = {}
        for prompt_set in prompt_sets:
            place = categories.index(prompt_set.category)
            for prompt in prompt_set.prompts:
                concepts.setdefault((prompt, place), tuple(prompt_set.paraphrases(prompt)))
            for prompt in prompt_set.benign_prompts:
                benign.setdefault(prompt, tuple(prompt_set.paraphrases(prompt)))
        return cls(
            tuple(concepts.values()),
            tuple(place for _, place in concepts),
            categories,
            tuple(benign.values()),
            tuple(dict.fromkeys(captions)),
        )

    def embedded_by(self, model: ImageTextModel) -> Tensor:
        """(T, D), of length one: concepts, benign anchors, captions."""
        groups = [*self.concepts, *self.benign, *((caption,) for caption in self.captions)]
        flat = [text for group in groups for text in group]
        with torch.no_grad():
            parts = [
                model.encode_text(flat[start : start + TEXT_BATCH], normalize=True).float()
                for start in range(0, len(flat), TEXT_BATCH)
            ]
        means = [part.mean(0) for part in torch.cat(parts).split([len(group) for group in groups])]
        return normalize(torch.stack(means), dim=-1)

    def reference(self, embedded: Tensor, logit_scale: float) -> Reference:
        """What category scores are made of: the bank's part of ``embedded_by``'s rows."""
        numbers = torch.tensor(self.category_of)
        members = tuple((numbers == k).nonzero().flatten().to(embedded.device) for k in range(len(self.categories)))
        cut = len(self.concepts)
        return Reference(embedded[:cut], members, embedded[cut : cut + len(self.benign)], logit_scale)


@dataclass(frozen=True)
class Teacher:
    """A CLIP with the texts that it compares finished images with.

    Attributes:
        name: for reports.
        model: untouched.
        from_latents, from_pictures: make of raw final latents, or of uint8 pictures, what its image tower reads.
        embedded: the texts by the model's own text tower, (T, D).
        reference: the bank's part of them.
        logit_scale: the model's own factor on cosines.
    """

    name: str
    model: ImageTextModel
    from_latents: Prepare
    from_pictures: Prepare
    embedded: Tensor
    reference: Reference
    logit_scale: float

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
        embedded = texts.embedded_by(model)
        scale = float(model.logit_scale.detach().exp())
        return cls(name, model, from_latents, from_pictures, embedded, texts.reference(embedded, scale), scale)

    def features(self, finals: Iterable[Tensor]) -> Tensor:
        """Embeddings (N, D) of length one, of batches of raw final latents."""
        return self._seen(finals, lambda raw: self.from_latents(raw.float()))

    def features_of_pictures(self, pictures: Iterable[Tensor]) -> Tensor:
        """The same of batches of uint8 pictures."""
        return self._seen(pictures, self.from_pictures)

    @torch.no_grad()
    def _seen(self, batches: Iterable[Tensor], prepare: Prepare) -> Tensor:
        device = self.embedded.device
        parts = [
            self.model.encode_latents(prepare(piece.to(device)), normalize=True).float().cpu()
            for batch in batches
            for piece in batch.split(BATCH)
        ]
        return torch.cat(parts)
