"""A call of a pipeline: checked, and ready to be made again for some of its images, with noise derived from the first.

It is what a caller asks ``LatentGuard.generate`` or an optimisation of noise for.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.pipelines.prompt_truncation import as_prompts

# Arguments with one entry a prompt when they are lists or tensors, else shared by all prompts.
PER_PROMPT = (
    "prompt_2",
    "prompt_3",
    "prompt_4",
    "negative_prompt",
    "negative_prompt_2",
    "negative_prompt_3",
    "negative_prompt_4",
    "prompt_embeds_mask",
    "negative_prompt_embeds",
    "negative_prompt_embeds_mask",
    "negative_pooled_prompt_embeds",
)
PICTURES = ("image", "mask_image")  # one for all prompts, one a prompt, or one an image
Generators = torch.Generator | list[torch.Generator] | None


@dataclass(frozen=True)
class Request:
    """``prompt`` is the caller's own, ``prompts`` the same as a list; each is drawn ``per_prompt`` times.

    ``arguments`` are the pipeline's others, without randomness; ``origins`` know where each image's comes from.
    """

    prompt: str | list[str]
    prompts: list[str]
    per_prompt: int
    arguments: dict[str, Any]
    generator: Generators
    origins: Origins

    @classmethod
    def of(cls, prompt: str | list[str], arguments: dict[str, Any], seed: int | None, generator: Generators) -> Request:
        """The request of ``LatentGuard.generate``'s arguments; ``InputError`` for a bad one."""
        prompts = as_prompts(prompt)
        own = {name: value for name, value in arguments.items() if name != "return_dict"}
        per_prompt = _at_least_one(own.pop("num_images_per_prompt", 1), "num_images_per_prompt")
        if own.get("num_inference_steps") is not None:
            _at_least_one(own["num_inference_steps"], "num_inference_steps")
        images = len(prompts) * per_prompt
        if seed is not None and generator is not None:
            raise InputError("give either a seed or a generator, not both")
        if seed is not None:
            generator = generators_from_seed(seed, images)
        return cls(prompt, prompts, per_prompt, own, generator, Origins(generator, images))

    @property
    def images(self) -> int:
        """How many images are to be made."""
        return len(self.prompts) * self.per_prompt

    def prompt_of(self, image: int) -> int:
        """Which of the prompts an image belongs to."""
        return image // self.per_prompt

    def call(self) -> dict[str, Any]:
        """The arguments of the first run: the caller's own."""
        asked = {"prompt": self.prompt, "num_images_per_prompt": self.per_prompt, "generator": self.generator}
        return {**self.arguments, **asked}

    def call_again(self, images: Sequence[int], retry: int, factor: int, *, references: bool = False) -> dict[str, Any]:
        """The arguments of retry number 1, 2, ... of some images; the others are those of ``arguments_for``."""
        generators = [self.origins.generator(image, retry) for image in images]
        own = arguments_for(images, self.prompts, self.per_prompt, self.arguments, factor, references=references)
        return {**own, "generator": generators}


def _at_least_one(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def generators_from_seed(seed: int, images: int) -> list[torch.Generator]:
    """CPU generators seeded seed, seed + 1, ...: image i of a batch is the only image of a call with seed + i."""
    if seed < 0:
        raise InputError(f"the seed must not be negative, got {seed}")
    return [torch.Generator().manual_seed(seed + image) for image in range(images)]


class Origins:
    """Where each image's randomness came from, taken before the first run, which moves the generators on."""

    def __init__(self, generator: Generators, images: int) -> None:
        if isinstance(generator, list):
            if len(generator) != images:
                raise InputError(f"{len(generator)} generators were given for {images} images; give one each")
            sources = generator
            own = [b""] * images
        else:
            sources = [generator or torch.default_generator] * images
            own = [str(image).encode() for image in range(images)]  # images that share a generator must differ
        self._devices = [source.device for source in sources]
        self._digests = [
            hashlib.sha256(source.get_state().numpy().tobytes() + b":" + name).digest()
            for source, name in zip(sources, own, strict=True)
        ]

    def generator(self, image: int, retry: int) -> torch.Generator:
        """The generator of an image's retry number 1, 2, ...; the same for the same origin, on any machine."""
        digest = hashlib.sha256(self._digests[image] + str(retry).encode()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 1  # manual_seed takes 63 bits everywhere
        return torch.Generator(self._devices[image]).manual_seed(seed)


def arguments_for(
    images: Sequence[int],
    prompts: list[str],
    per_prompt: int,
    arguments: dict[str, Any],
    factor: int,
    *,
    references: bool = False,
) -> dict[str, Any]:
    """The pipeline arguments, generators aside, that run ``images`` of a call again as a batch of their own.

    Image i belongs to prompt i // ``per_prompt``. Latents given by the caller are left out: they are the noise that
    led to the unsafe image; only their size is kept, times ``factor``, the pixels along a side of one of their places
    (packed ones do not tell it). ``references``: a list of pictures is what every prompt refers to.
    """
    rows = [image // per_prompt for image in images]
    chosen = {**arguments, "prompt": [prompts[row] for row in rows], "num_images_per_prompt": 1}
    for name in PER_PROMPT:
        if chosen.get(name) is not None:
            chosen[name] = _rows(chosen[name], rows, len(prompts), name)
    for name in PICTURES:
        if chosen.get(name) is not None and not references:
            each = _length(chosen[name]) == len(prompts) * per_prompt
            own, count = (list(images), len(prompts) * per_prompt) if each else (rows, len(prompts))
            chosen[name] = _rows(chosen[name], own, count, name)
    latents = chosen.pop("latents", None)
    if latents is not None and latents.ndim == 4:
        chosen["height"], chosen["width"] = (side * factor for side in latents.shape[-2:])
    return chosen


def gives_latents(arguments: inspect.BoundArguments) -> bool:
    """True for a call of a pipeline that asks for latents in the place of pictures."""
    asked = inspect.BoundArguments(arguments.signature, arguments.arguments.copy())
    asked.apply_defaults()
    further = [value for value in asked.arguments.values() if isinstance(value, dict)]  # of **kwargs
    return any(asks_for_latents(given) for given in (asked.arguments, *further))


def asks_for_latents(arguments: Mapping[str, Any]) -> bool:
    """True if these arguments do."""
    # As pipelines compare it: a member of an enumeration of texts may print as something else.
    return bool(arguments.get("output_type") == "latent")


def with_twice_the_steps(arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The same call in twice as many steps; None if it lists its steps one by one, or leaves their number open."""
    steps = arguments.get("num_inference_steps")
    if steps is None or any(arguments.get(name) is not None for name in ("timesteps", "sigmas")):
        return None
    return {**arguments, "num_inference_steps": 2 * steps}


def _rows(value: Any, rows: list[int], prompts: int, name: str) -> Any:
    count = _length(value, is_picture=name in PICTURES)
    if count is None:
        return [value] * len(rows)
    if count == 1:
        rows = [0] * len(rows)
    elif count != prompts:
        raise InputError(f"{name} has {count} entries for {prompts} prompts; give one each")
    return [value[row] for row in rows] if isinstance(value, (list, tuple)) else value[rows]


def _length(value: Any, *, is_picture: bool = True) -> int | None:
    """How many entries a value has; None for a single one, which a picture of fewer than four dimensions is."""
    if not isinstance(value, (list, tuple, Tensor, np.ndarray)):
        return None
    return None if is_picture and not isinstance(value, (list, tuple)) and value.ndim < 4 else len(value)
