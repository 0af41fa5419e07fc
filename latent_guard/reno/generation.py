"""A pipeline's own call as a differentiable function from initial noise to raw latents."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.call import Request
from latent_guard.pipelines.families import layout_of, require_known
from latent_guard.pipelines.hook import around
from latent_guard.pipelines.vae import shown_pixels, without_overflow
from latent_guard.reno.result import Origin


class Generation:
    """Draws a request's images again and again, from whatever noise; only within `ready`.

    It runs the pipeline's own `__call__`, without the `no_grad` that decorates it; so it has no code for a family.
    """

    def __init__(self, pipe: Any, request: Request) -> None:
        """Raises `UnsupportedPipelineError` for a pipeline that the guard does not know, or that takes no noise."""
        require_known(pipe)
        self._pipe, self._request = pipe, request
        self._call = inspect.unwrap(type(pipe).__call__)
        takes = inspect.signature(self._call).parameters
        if "latents" not in takes or "image" in takes:  # what begins with a picture has no noise of its own
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} does not begin with noise alone (`latents`), so there is no gradient path "
                "to it; use a text-to-image pipeline"
            )
        self._space = LatentSpace.of_vae(pipe.vae)
        self._layout = layout_of(pipe, self._space.channels)
        self._states = _states(request.generator)
        self._encodings = 0  # of the present call

    @contextmanager
    def ready(self, models: Sequence[nn.Module], *, checkpointing: bool) -> Iterator[Tensor]:
        """The block in which prompts are encoded once, and no weight of the pipeline or of `models` has a gradient.

        It gives the noise (B, ...), float32, that the pipeline's own call would begin with, as `latents` takes it.
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
        """Found by a call of the pipeline that ends as soon as its latents are prepared."""
        found: list[Tensor] = []

        def stop(pipe: Any, original: Callable[..., Any], call: inspect.BoundArguments) -> Any:
            prepared = original(*call.args, **call.kwargs)
            found.append(prepared[0] if isinstance(prepared, tuple) else prepared)
            raise _PreparedError

        try:
            with around(self._pipe, "prepare_latents", stop):
                self._call(self._pipe, **self._arguments())
        except _PreparedError:
            self._pipe.maybe_free_model_hooks()
        (prepared,) = found
        self._states, self._dtype = _states(self._request.generator), prepared.dtype
        return unscaled(prepared, getattr(self._pipe.scheduler, "init_noise_sigma", 1.0)).float()

    def latents(self, noise: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), float32, drawn from a noise; the same randomness on the way each time."""
        self._rewind()
        images = self._call(self._pipe, **{**self._arguments(), "latents": self.as_latents(noise)}).images
        return self._space.to_raw(self._layout.unpack(images).float())

    def pixels(self, raw: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in [-1, 1], float32, of raw latents."""
        return shown_pixels(self._pipe.vae, raw)

    def images(self, noise: Tensor) -> Any:
        """What the pipeline's public call gives for a noise, in the format that the request asks for."""
        self._rewind()
        return self._pipe(**{**self._request.call(), "latents": self.as_latents(noise)}).images

    def as_latents(self, noise: Tensor) -> Tensor:
        """A noise in the precision in which the pipeline takes it."""
        return noise.to(self._dtype)

    def again(self) -> Origin:
        """Where the randomness of every call came from."""
        generators = _as_list(self._request.generator)
        return Origin(
            tuple(self._states),
            tuple(generator.device for generator in generators),
            shared=not isinstance(self._request.generator, list),
        )

    @contextmanager
    def _encoded_once(self) -> Iterator[None]:
        """The pipeline's prompts, encoded by its own code in the first call and handed out again in every other.

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
        """What a call begins with: the generators as they were once the noise was drawn, and nothing encoded yet."""
        self._encodings = 0
        generators = _as_list(self._request.generator)
        for generator, state in zip(generators, self._states, strict=True):
            generator.set_state(state)


def unscaled(prepared: Tensor, scale: Any) -> Tensor:
    """What a pipeline multiplied with the scheduler's scale to get ``prepared``, to the last bit.

    The quotient may be next to it; it is that of the three neighbours whose product is right.
    """
    quotient: Tensor = prepared / scale
    words = quotient.view(torch.int32 if quotient.element_size() == 4 else torch.int16)
    for neighbour in (words + 1, words - 1):
        candidate = neighbour.view(quotient.dtype)
        wrong = quotient * scale != prepared
        quotient = torch.where(wrong & (candidate * scale == prepared), candidate, quotient)
    return quotient


class _PreparedError(Exception):
    """Ends a call whose latents are prepared."""


def _as_list(generator: torch.Generator | list[torch.Generator] | None) -> list[torch.Generator]:
    if generator is None:
        raise InputError("give a seed or a generator: every iteration must meet the same randomness")
    return generator if isinstance(generator, list) else [generator]


def _states(generator: torch.Generator | list[torch.Generator] | None) -> list[Tensor]:
    return [one.get_state() for one in _as_list(generator)]


@contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    """No gradients into weights: these would take time, and would pile up in a caller's model."""
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
    """Without the bar that a pipeline shows for each call."""
    own = getattr(pipe, "_progress_bar_config", {})
    pipe.set_progress_bar_config(**{**own, "disable": True})
    try:
        yield
    finally:
        pipe._progress_bar_config = own


@contextmanager
def _checkpointed(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Activations of denoiser and decoder computed again in the backward pass instead of kept."""
    able: list[Any] = [part for part in parts if getattr(part, "_supports_gradient_checkpointing", False)]
    chosen = [part for part in able if not part.is_gradient_checkpointing]
    for part in chosen:
        part.enable_gradient_checkpointing()
    try:
        yield
    finally:
        for part in chosen:
            part.disable_gradient_checkpointing()
