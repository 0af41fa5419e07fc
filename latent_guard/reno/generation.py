"""A pipeline's own call as a differentiable function from initial noise to raw latents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.pipelines.call import Request
from latent_guard.pipelines.family_table import family_of, require_generates_pictures
from latent_guard.pipelines.hook import around
from latent_guard.pipelines.layouts import Layout
from latent_guard.pipelines.vae import shown_pixels, without_overflow
from latent_guard.reno.result import GeneratorStates


class Generation:
    """A request that can be drawn from any noise, again and again, within ``ready``.

    It runs the pipeline's own ``__call__`` without the ``no_grad`` that decorates it, so it needs no code for any
    family of pipelines.
    """

    def __init__(self, pipe: Any, request: Request) -> None:
        """Prepare a pipeline's call.

        Raises:
            UnsupportedPipelineError: the pipeline is unknown to the guard, or does not begin with noise alone.
        """
        require_generates_pictures(pipe)
        family = family_of(pipe)
        self._pipe = pipe
        self._request = request
        self._call = inspect.unwrap(type(pipe).__call__)
        parameters = inspect.signature(self._call).parameters
        if "latents" not in parameters or "image" in parameters:  # an image-to-image call has no noise of its own
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} does not begin with noise alone (`latents`), so there is no gradient path "
                "to it; use a text-to-image pipeline"
            )
        self._space = family.space_of(pipe.vae)
        family.require_readable(pipe, self._space)
        self._layout = Layout(pipe, family, self._space)
        self._states = _states(request.generator)
        self._encodings = 0  # calls of encode_prompt within the present call

    @contextmanager
    def ready(self, models: Sequence[nn.Module], *, checkpointing: bool) -> Iterator[Tensor]:
        """Encode prompts once, and keep gradients out of the weights of the pipeline and of ``models``, for a block.

        Yields:
            The noise (B, ...), float32, that the pipeline's own call would begin with, as ``latents`` takes it.
        """
        parts = [part for part in self._pipe.components.values() if isinstance(part, nn.Module)]
        with ExitStack() as stack:
            stack.enter_context(_frozen([*parts, *models]))
            stack.enter_context(self._encoded_once())
            stack.enter_context(_silent(self._pipe))
            stack.enter_context(without_overflow(self._pipe.vae))
            noise = self._initial_noise()
            stack.enter_context(self._layout.following())
            if checkpointing:
                stack.enter_context(_checkpointed(parts))
            yield noise

    @torch.no_grad()
    def _initial_noise(self) -> Tensor:
        """The pipeline's own noise, from a call that ends as soon as its latents are prepared."""
        noise: list[Tensor] = []

        def stop(pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            prepared = original(*call.args, **call.kwargs)
            noise.append(prepared[0] if isinstance(prepared, tuple) else prepared)
            raise _PreparedError

        try:
            with around(self._pipe, "prepare_latents", stop):
                self._call(self._pipe, **self._arguments())
        except _PreparedError:
            self._pipe.maybe_free_model_hooks()
        (prepared,) = noise
        self._states = _states(self._request.generator)
        self._dtype = prepared.dtype
        return unscaled(prepared, getattr(self._pipe.scheduler, "init_noise_sigma", 1.0)).float()

    def latents(self, noise: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), float32, drawn from a noise sample; every call meets the same randomness."""
        self._rewind()
        images = self._call(self._pipe, **{**self._arguments(), "latents": self.as_latents(noise)}).images
        return self._layout.output_to_raw(images)

    def pixels(self, raw: Tensor) -> Tensor:
        """Raw latents decoded to pixels (B, 3, H, W) in [-1, 1], float32."""
        return shown_pixels(self._pipe.vae, raw)

    def images(self, noise: Tensor) -> Any:
        """The output of the pipeline's public call for a noise sample, in the format that the request asks for."""
        self._rewind()
        return self._pipe(**{**self._request.call(), "latents": self.as_latents(noise)}).images

    def as_latents(self, noise: Tensor) -> Tensor:
        """The noise sample in the pipeline's precision."""
        return noise.to(self._dtype)

    def generator_states(self) -> GeneratorStates:
        """The states of the request's generators at the start of every call."""
        generators = _as_list(self._request.generator)
        return GeneratorStates(
            tuple(self._states),
            tuple(generator.device for generator in generators),
            shared=not isinstance(self._request.generator, list),
        )

    @contextmanager
    def _encoded_once(self) -> Iterator[None]:
        """Let the pipeline encode its prompts in the first call, and return the same embeddings in every other.

        A call may encode several times (FLUX.1 its negative prompt apart): the n-th time gives the n-th result.
        """
        encoded: list[Any] = []

        def once(owner: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            if self._encodings == len(encoded):
                with torch.no_grad():
                    encoded.append(original(*call.args, **call.kwargs))
            self._encodings += 1
            return encoded[self._encodings - 1]

        with around(self._pipe, "encode_prompt", once):
            yield

    def _arguments(self) -> dict[str, Any]:
        return {**self._request.call(), "output_type": "latent"}

    def _rewind(self) -> None:
        """Reset the generators to where they were after the noise was drawn, and the count of encodings."""
        self._encodings = 0
        generators = _as_list(self._request.generator)
        for generator, state in zip(generators, self._states, strict=True):
            generator.set_state(state)


def unscaled(prepared: Tensor, scale: Any) -> Tensor:
    """Divide by the scheduler's scale exactly: the result times ``scale`` is ``prepared`` to the last bit.

    The rounded quotient can be off by one unit in the last place; of its neighbours, the one with the right product
    is taken.
    """
    quotient: Tensor = prepared / scale
    bits = quotient.view(torch.int32 if quotient.element_size() == 4 else torch.int16)
    for neighbour in (bits + 1, bits - 1):
        candidate = neighbour.view(quotient.dtype)
        inexact = quotient * scale != prepared
        quotient = torch.where(inexact & (candidate * scale == prepared), candidate, quotient)
    return quotient


class _PreparedError(Exception):
    """Ends a call whose latents are prepared."""


def _as_list(generator: torch.Generator | list[torch.Generator] | None) -> list[torch.Generator]:
    if generator is None:
        raise InputError("give a seed or a generator: every iteration must meet the same randomness")
    return generator if isinstance(generator, list) else [generator]


def _states(generator: torch.Generator | list[torch.Generator] | None) -> list[Tensor]:
    return [each.get_state() for each in _as_list(generator)]


@contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Keep gradients out of the weights: they would take time, and would add up in a caller's model."""
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _silent(pipe: Any) -> Iterator[None]:
    """Hide the progress bar that a pipeline shows for each call."""
    before = getattr(pipe, "_progress_bar_config", {})
    pipe.set_progress_bar_config(**{**before, "disable": True})
    try:
        yield
    finally:
        pipe._progress_bar_config = before


@contextmanager
def _checkpointed(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Compute the activations of denoiser and decoder again in the backward pass instead of keeping them."""
    supported: list[Any] = [part for part in parts if getattr(part, "_supports_gradient_checkpointing", False)]
    chosen = [part for part in supported if not part.is_gradient_checkpointing]
    for part in chosen:
        part.enable_gradient_checkpointing()
    try:
        yield
    finally:
        for part in chosen:
            part.disable_gradient_checkpointing()
