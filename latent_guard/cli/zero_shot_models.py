"""The models of ``zero-shot``: a Latent-CLIP, its VAE and a CLIP on pixels, all on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.loading import load_canary, load_latent_clip, load_pipeline, load_pixel_clip, load_vae
from latent_guard.zero_shot import views
from latent_guard.zero_shot.evaluate import LATENT_CLIP, PIXEL_CLIP, Batch
from latent_guard.zero_shot.regenerated import RegenerationSettings, Regenerator, regenerated_batches

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary
    from latent_guard.training.data.shards import LatentDataset
    from latent_guard.zero_shot.class_set import ClassSet
    from latent_guard.zero_shot.classify import ImageTextModel
    from latent_guard.zero_shot.image_set import ImageSet
    from latent_guard.zero_shot.pixel_clip import PixelCLIP


@dataclass(frozen=True, eq=False)
class ZeroShotModels:
    """The models of one test; VAE and pipeline are loaded when they are needed, and checked against the Latent-CLIP."""

    model: str | None
    latent_clip: LatentCLIP
    canary: Canary | None
    pixel_clip: PixelCLIP | None
    batch_size: int

    @classmethod
    def load(cls, model: str | None, guard: str | None, pixel_clip: str | None, batch_size: int) -> ZeroShotModels:
        """The models that the options name; a CLIP on pixels beside the model counts if the Latent-CLIP lies there too.

        Raises:
            InputError: one of them is not there, or is of the wrong kind.
            CheckpointError: one of them cannot be read.
        """
        clip = load_latent_clip(model, guard)
        if clip.config.latent_space == PIXELS:
            raise InputError(f"--guard {guard} reads pixels; give it as --pixel-clip")
        pixels = load_pixel_clip(model, pixel_clip) if pixel_clip or not guard else None
        return cls(model, clip, load_canary(model, guard), pixels, batch_size)

    @property
    def side(self) -> int:
        """Pixels along one side of the square whose latents the Latent-CLIP reads."""
        return self.latent_clip.config.pixels

    @property
    def by_name(self) -> dict[str, ImageTextModel]:
        """The models that classify, by the name of their input."""
        pixels = {PIXEL_CLIP: self.pixel_clip.model} if self.pixel_clip is not None else {}
        return {LATENT_CLIP: self.latent_clip, **pixels}

    @property
    def made_by(self) -> dict[str, Any]:
        """Fingerprint of the Latent-CLIP and name of the CLIP on pixels, for the record."""
        name = self.pixel_clip.name if self.pixel_clip is not None else None
        return {"latent_clip": self.latent_clip.fingerprint(), "pixel_clip": name}

    def at_images(self, images: ImageSet, classes: ClassSet) -> Iterator[Batch]:
        """Batches of images, encoded for the Latent-CLIP, and as they are for the CLIP on pixels."""
        numbers = views.class_numbers(images, classes)
        shown = {LATENT_CLIP: views.latent_view(self._vae(), self.side)}
        if self.pixel_clip is not None:
            shown[PIXEL_CLIP] = views.pixel_view(self.pixel_clip.side)
        return views.batches_of_images(images, numbers, shown, self.batch_size)

    def at_latents(self, datasets: Sequence[LatentDataset], classes: ClassSet) -> Iterator[Batch]:
        """Batches of latent shards, those of each shape apart; decoded for the pixel CLIP.

        Raises:
            LatentSpaceMismatchError: latents of another space than the Latent-CLIP's.
        """
        self.latent_clip.require_space(datasets[0].latent_space, "these shards hold latents")
        several = len(datasets) > 1
        found = (
            views.batches_of_latents(
                data.latents, data.noise_levels, data.captions, classes, self.batch_size,
                prefix=f"{'x'.join(map(str, data.latents.shape[2:]))}/" if several else "",
            )
            for data in datasets
        )  # fmt: skip
        return self._decoded(chain.from_iterable(found))

    def at_regenerated(
        self, images: ImageSet, classes: ClassSet, settings: RegenerationSettings, folder: Path
    ) -> Iterator[Batch]:
        """Batches of regenerated images, made where ``folder`` does not hold them yet; decoded for the pixel CLIP."""
        numbers = views.class_numbers(images, classes)
        pipe = load_pipeline(self.model, settings.steps, settings.batch_size)
        self._check_vae(pipe.vae)
        regenerator = Regenerator(pipe, settings)
        return self._decoded(regenerated_batches(images, numbers, classes, regenerator, folder))

    def _decoded(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return views.with_decoded(batches, self._vae(), self.pixel_clip.side) if self.pixel_clip else batches

    def _vae(self) -> Any:
        vae = load_vae(self.model)
        self._check_vae(vae)
        return vae

    def _check_vae(self, vae: Any) -> None:
        self.latent_clip.require_space(LatentSpace.of_vae(vae), "the model's VAE makes latents")
        if self.canary is not None:
            self.canary.check(vae, vae.device)
