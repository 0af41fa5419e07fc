"""A regenerated data set: a pipeline noises and denoises each image, with its class name as the prompt.

The second test of Latent-CLIP (arXiv 2503.08455): what a generator draws, classified before it is decoded. On disk it
is one safetensors file a batch of raw latents, so that an interrupted run is resumed:

00000.safetensors    latents float16 (B, C, H, W); as metadata the settings, the names of the batch's images, their
                     prompts and the skipped images
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from latent_guard.bounds import MAX_GUIDANCE, MAX_STEPS, require_number, require_whole
from latent_guard.building import build
from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import json_value
from latent_guard.pipelines.family_table import space_of_pipeline
from latent_guard.zero_shot.class_set import ClassSet
from latent_guard.zero_shot.evaluate import LATENT_CLIP, Batch, Skipped
from latent_guard.zero_shot.image_set import ImageRow, ImageSet
from latent_guard.zero_shot.views import in_parts, open_rows, square

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

TENSOR = "latents"


@dataclass(frozen=True)
class RegenerationSettings:
    """How the data set is regenerated.

    Attributes:
        pipeline: what messages and files call the pipeline.
        strength: how much of the schedule each image is noised by, 0..1; the paper's is 0.66.
        steps: of the whole schedule; ``strength`` of them are run.
        guidance_scale: None for the pipeline's own default.
        seed: with an image's name it decides that image's noise.
        side: pixels of the square that each image is cropped to.
        batch_size: images regenerated at once.
    """

    pipeline: str
    strength: float
    steps: int
    guidance_scale: float | None
    seed: int
    side: int
    batch_size: int

    def __post_init__(self) -> None:
        require_number("--strength, a share of the schedule,", self.strength, 0, 1, exclusive=True)
        require_whole("--steps", self.steps, 1, MAX_STEPS)
        if self.guidance_scale is not None:
            require_number("--guidance-scale", self.guidance_scale, 0, MAX_GUIDANCE)
        if int(self.steps * self.strength) < 1:
            raise InputError(f"{self.steps} steps at strength {self.strength} leave none to run; raise --steps")


class Regenerator:
    """Regenerates images with the image-to-image pipeline of the same family, built from a pipeline's components."""

    def __init__(self, pipe: Any, settings: RegenerationSettings) -> None:
        """Take over the pipeline's components.

        Raises:
            UnsupportedPipelineError: diffusers has no image-to-image for the pipeline.
        """
        from diffusers import AutoPipelineForImage2Image

        try:
            self._pipe = AutoPipelineForImage2Image.from_pipe(pipe)
            self._parameters = inspect.signature(self._pipe.__call__).parameters
            if "strength" not in self._parameters:  # FLUX.2's takes an image to look at, not one to noise
                raise ValueError(f"{type(self._pipe).__name__} knows no strength")
        except ValueError as error:
            name = type(pipe).__name__
            message = f"diffusers has no pipeline that noises an image and denoises it for {name}; use another --model"
            raise UnsupportedPipelineError(message) from error
        self._pipe.set_progress_bar_config(disable=True)
        self._space, self.settings = space_of_pipeline(pipe), settings

    def regenerate(self, pictures: Sequence[Picture], prompts: Sequence[str], keys: Sequence[str]) -> Tensor:
        """Noise and denoise each picture.

        Args:
            pictures: B images of any size.
            prompts: what each of them is to show.
            keys: the images' names, which decide their noise together with the seed.

        Returns:
            Raw latents (B, C, H, W), float32 on the CPU, undecoded.
        """
        settings = self.settings
        arguments: dict[str, Any] = {
            "strength": settings.strength,
            "num_inference_steps": settings.steps,
            "output_type": "latent",
        }
        if settings.guidance_scale is not None:
            arguments["guidance_scale"] = settings.guidance_scale
        if "height" in self._parameters:  # these would resize to their own default
            arguments["height"] = arguments["width"] = settings.side
        latents = self._pipe(
            prompt=list(prompts),
            image=[square(picture, settings.side) for picture in pictures],
            generator=[generator_of(settings.seed, key) for key in keys],
            **arguments,
        ).images
        if latents.ndim == 3:  # FLUX.1 hands out its latents as packed
            latents = self._pipe._unpack_latents(latents, settings.side, settings.side, self._pipe.vae_scale_factor)
        raw: Tensor = self._space.to_raw(latents.float()).cpu()
        return raw


def generator_of(seed: int, key: str) -> torch.Generator:
    """The generator of one image's noise, which depends on the seed and the image's name alone."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)  # manual_seed takes 63 bits


@dataclass(frozen=True)
class _Metadata:
    """The metadata of a file."""

    keys: list[str]
    labels: list[int]
    skipped: list[Skipped]


def regenerated_batches(
    images: ImageSet, numbers: Sequence[int], classes: ClassSet, regenerator: Regenerator, folder: Path
) -> Iterator[Batch]:
    """Batches of regenerated images, as raw latents.

    Args:
        images: the data set.
        numbers: the class of each of its labels (``class_numbers``).
        classes: the classes, whose names are the prompts.
        regenerator: makes what ``folder`` does not hold yet.
        folder: where the batches are kept.

    Raises:
        InputError: the folder was made from other images, classes or settings, or cannot be written.
    """
    settings = asdict(regenerator.settings)
    for place, rows in enumerate(in_parts(images, regenerator.settings.batch_size)):
        path = folder / f"{place:05d}.safetensors"
        names = [[row.key, _prompt(row, numbers, classes)] for row in rows]
        made_by = {"settings": json.dumps(settings, sort_keys=True), "images": json.dumps(names)}
        part = _read(path, made_by)
        if part is None:
            part = _made(rows, numbers, classes, regenerator)
            _write(path, part, made_by)
        yield part


def _prompt(row: ImageRow, numbers: Sequence[int], classes: ClassSet) -> str | None:
    known = row.label is not None and row.label < len(numbers)
    return classes.names[numbers[row.label]] if known and row.label is not None else None


def _made(rows: Sequence[ImageRow], numbers: Sequence[int], classes: ClassSet, regenerator: Regenerator) -> Batch:
    opened = open_rows(rows, numbers)
    if not opened.keys:
        return Batch([], [], {LATENT_CLIP: torch.empty(0, 1, 1, 1)}, opened.skipped)
    prompts = [classes.names[label] for label in opened.labels]
    latents = regenerator.regenerate(opened.pictures, prompts, opened.keys).half()
    return Batch(opened.keys, opened.labels, {LATENT_CLIP: latents.float()}, opened.skipped)


def _write(path: Path, part: Batch, made_by: dict[str, str]) -> None:
    content = {
        "keys": json.dumps(list(part.keys)),
        "labels": json.dumps(list(part.labels)),
        "skipped": json.dumps([asdict(skipped) for skipped in part.skipped]),
    }
    write_atomic(path, save({TENSOR: part.views[LATENT_CLIP].half().contiguous()}, {**made_by, **content}))


def _read(path: Path, made_by: dict[str, str]) -> Batch | None:
    """The batch that the file holds; None if there is none, or a damaged one that is to be made again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            words: dict[str, Any] = file.metadata()
            latents: Tensor = file.get_tensor(TENSOR).float()
        if other := [name for name in made_by if words[name] != made_by[name]]:
            raise InputError(f"{path} was made from other {other[0]}; choose another --out, or delete {path.parent}")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    try:
        entries = {name: json_value(words[name], str(path), any_text=True) for name in ("keys", "labels", "skipped")}
        metadata = build(_Metadata, entries, str(path))
    except (InputError, KeyError):
        return None
    return Batch(metadata.keys, metadata.labels, {LATENT_CLIP: latents}, metadata.skipped)
