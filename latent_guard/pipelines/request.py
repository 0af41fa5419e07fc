"""What a caller asked `LatentGuard.generate` for: checked, and ready to be asked of a pipeline again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latent_guard.errors import InputError
from latent_guard.pipelines.prompt_truncation import as_prompts
from latent_guard.pipelines.restarts import Generators, Origins, arguments_for, generators_from_seed


@dataclass(frozen=True)
class Request:
    """`prompt` is the caller's own, `prompts` the same as a list; each is drawn `per_prompt` times.

    `arguments` are the pipeline's others, without randomness; `origins` know where each image's comes from.
    """

    prompt: str | list[str]
    prompts: list[str]
    per_prompt: int
    arguments: dict[str, Any]
    generator: Generators
    origins: Origins

    @classmethod
    def of(cls, prompt: str | list[str], arguments: dict[str, Any], seed: int | None, generator: Generators) -> Request:
        """The request of `LatentGuard.generate`'s arguments; `InputError` for a bad one."""
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

    def call_again(self, images: Sequence[int], restart: int, factor: int) -> dict[str, Any]:
        """The arguments of restart number 1, 2, ... of some images; `factor` is `arguments_for`'s."""
        generators = [self.origins.generator(image, restart) for image in images]
        own = arguments_for(images, self.prompts, self.per_prompt, self.arguments, factor)
        return {**own, "generator": generators}


def _at_least_one(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
