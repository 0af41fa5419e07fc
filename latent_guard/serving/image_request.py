"""The body of ``POST /v1/images/generations``: OpenAI's fields, of which none is accepted that is not honoured."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latent_guard.bounds import MAX_SEED
from latent_guard.errors import InputError, one_line
from latent_guard.pipelines.prompt_truncation import require_text
from latent_guard.serving.jobs import Shape
from latent_guard.serving.refusal import bad_request
from latent_guard.serving.service import Service
from latent_guard.serving.settings import sides_of

MAX_PROMPT = 32_000  # characters, as of OpenAI's newest models
_RANDOM_SEED = 2**32


class ImageRequest(BaseModel):
    """OpenAI's fields, and two more: ``seed`` and ``num_inference_steps``."""

    model_config = ConfigDict(strict=True, extra="forbid")

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT)]
    model: str | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    size: str | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1)] | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    moderation: Literal["auto"] | None = None  # "low" would ask for a weaker guard
    quality: Literal["auto"] | None = None
    background: Literal["auto", "opaque"] | None = None
    stream: Literal[False] | None = None  # an image is shown once it was judged
    partial_images: Literal[0] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None

    @classmethod
    def read(cls, body: Any) -> ImageRequest:
        """The request of a body's plain value.

        Raises:
            HTTPRefusalError: it is another; names the first field that is wrong.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            param = one_line(first["loc"][0], 64) if first["loc"] else None
            unknown = first["type"] == "extra_forbidden"
            message = "it is not known here, or cannot be honoured" if unknown else first["msg"]
            code = "unknown_parameter" if unknown else "invalid_value"
            raise bad_request(f"{param or 'the body'}: {message}", param, code) from None

    @property
    def images(self) -> int:
        """How many images are asked for."""
        return self.n or 1

    @property
    def format(self) -> str:
        """Of the pictures."""
        return self.output_format or "png"

    def within(self, service: Service) -> tuple[Shape, int]:
        """What is drawn: a shape, and the seed of the first image, a random one where none is asked for.

        Raises:
            HTTPRefusalError: it is beyond what the service allows.
        """
        if not self.prompt.strip():
            raise bad_request("prompt: it is empty; say what to draw", "prompt")
        try:
            require_text(self.prompt)
        except InputError as error:
            raise bad_request(f"prompt: {error}", "prompt") from error
        if self.model not in (None, service.model):
            raise bad_request(f"model: this service has {service.model} only", "model", "model_not_found")
        if self.images > service.settings.max_images:
            raise bad_request(f"n: at most {service.settings.max_images} images are drawn a request", "n")
        if (self.num_inference_steps or 1) > service.max_steps:
            raise bad_request(f"num_inference_steps: at most {service.max_steps} are made", "num_inference_steps")
        if self.output_compression not in (None, 100) and self.format == "png":
            raise bad_request("output_compression: a PNG has none; ask for jpeg or webp", "output_compression")
        seed = secrets.randbelow(_RANDOM_SEED) if self.seed is None else self.seed
        if seed > MAX_SEED - self.images:
            raise bad_request(f"seed: with {self.images} images it must be below {MAX_SEED - self.images}", "seed")
        return Shape(self.num_inference_steps or service.steps, self._sides(service)), seed

    def _sides(self, service: Service) -> tuple[int, int] | None:
        """Width and height; None for the model's own."""
        if self.size in (None, "auto", service.own_size):
            return None
        if self.size not in service.settings.sizes:
            known = ", ".join(("auto", *dict.fromkeys((service.own_size, *service.settings.sizes))))
            raise bad_request(f"size: this service has {known}", "size")
        return sides_of(self.size)
