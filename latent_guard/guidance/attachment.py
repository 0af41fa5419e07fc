"""The ``with`` block in which a pipeline is guarded; outside of it, an attached pipeline makes no image at all."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, TypeVar

from latent_guard.errors import GuardError, InputError
from latent_guard.guidance.fail_open import RefusalError
from latent_guard.guidance.gate import NOT_VERIFIED
from latent_guard.guidance.watch import Watch
from latent_guard.pipelines.hook import AroundCall, around, around_step
from latent_guard.pipelines.modular import named_arguments, outputs_asked_for
from latent_guard.pipelines.vae import first_of_the_decoder

Watching = TypeVar("Watching")


class Block(AbstractContextManager[Watching]):
    """A ``with`` block in which a pipeline's calls are guarded; it is entered once.

    Until then the pipeline's call is an error, for whoever attached a guard and forgot the ``with`` would take its
    images for guarded ones; the next attachment, once it is left, ends that too.
    """

    def __init__(self, pipe: Any, watch: Watching) -> None:
        """Attach; ``InputError`` if the pipeline is guarded already."""
        self._watch = watch
        self._stack = ExitStack()
        self._around_call = AroundCall(pipe, _not_entered)

    def __enter__(self) -> Watching:
        if self._around_call.entered:
            raise InputError("this attachment was entered before; attach the guard again")
        self._around_call.enter(self._call)
        with ExitStack() as stack:
            stack.callback(self._around_call.remove)
            stack.enter_context(self._installed())
            self._stack = stack.pop_all()
        return self._watch

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    @abstractmethod
    def _installed(self) -> AbstractContextManager[None]:
        """The block in which what passes the guard does so; everything is as it was afterwards."""

    @abstractmethod
    def _call(self, pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """One call of the pipeline."""


class Attachment(Block[Watch]):
    """What ``guard.attach(pipe)`` gives."""

    def __init__(
        self,
        watch: Watch,
        before_call: Callable[[Mapping[str, Any]], None] = lambda _: None,
        before_loop: Callable[[], None] = lambda: None,
    ) -> None:
        """Attach; nothing is guarded yet.

        ``before_call`` is told the arguments of each call of the pipeline; ``before_loop`` comes before the first step
        of a loop of somebody's own.

        Raises:
            InputError: the pipeline is guarded already.
        """
        self._before_call = before_call
        self._before_loop = before_loop
        self._scheduler = watch.pipe.scheduler
        self._vae = watch.pipe.vae
        self._decoder = watch.gate.vae
        self._decodes_here: Callable[[], bool] = lambda: True  # or has other code replaced `vae.decode`?
        super().__init__(watch.pipe, watch)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        """The block in which steps and decodes pass the guard; everything is as it was afterwards."""
        watch = self._watch
        try:
            with around_step(self._scheduler, self._step), watch.latents.layout.following():
                if self._decoder is None:
                    yield
                else:
                    layer = first_of_the_decoder(self._decoder).register_forward_pre_hook(watch.gate.at_the_decoder)
                    try:
                        with around(self._decoder, "decode", watch.gate.decoding, methods_only=False) as in_place:
                            self._decodes_here = in_place
                            yield
                    finally:
                        layer.remove()
            self._require_own_parts()
            if watch.run is not None and watch.run.aborted_at is None:
                raise RefusalError(NOT_VERIFIED)
        except BaseException:
            # A pipeline that stops in mid-call leaves its models where they are: offload them.
            free_models(watch.pipe)
            raise

    def _call(self, pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """One call of the pipeline: an unverified image must not even reach the caller's own block."""
        watch = self._watch
        if pipe is not watch.pipe:
            raise RefusalError("this is a copy of a guarded pipeline; attach the guard to it after the block")
        self._before_call(named_arguments(pipe, arguments))
        chosen = outputs_asked_for(pipe, arguments)
        call = watch.gate.begin(arguments)
        watch.latents.layout.stepped = None
        try:
            self._require_own_parts()
            if watch.run is not None:
                raise RefusalError(NOT_VERIFIED)
            output = watch.gate.handing_out(call, original(*arguments.args, **arguments.kwargs))
            self._require_own_parts()
            if not self._decodes_here():
                raise RefusalError(
                    "vae.decode was replaced inside the guarded block; set it before attaching the guard"
                )
            return chosen(output)
        finally:
            watch.end_call()

    def _step(self, scheduler: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        if scheduler is not self._scheduler:
            if self._watch.latents.layout.steps_sound(arguments.arguments["sample"]):
                return original(*arguments.args, **arguments.kwargs)
            raise RefusalError(
                "a copy of the guarded scheduler makes a step, which nothing tells from one of the images' own; "
                'attach with gate="decode" to a pipeline that copies its scheduler'
            )
        if self._watch.gate.call is None and self._watch.run is None:
            self._before_loop()
        return self._watch.step(scheduler, original, arguments)

    def _require_own_parts(self) -> None:
        """Raise ``GuardError`` if another scheduler or VAE is at work than the ones that are watched."""
        for name, own in (("scheduler", self._scheduler), ("vae", self._vae)):
            if getattr(self._watch.pipe, name) is not own:
                raise RefusalError(
                    f"pipe.{name} was replaced inside the guarded block; set it before attaching the guard"
                )


def free_models(pipe: Any) -> None:
    """Offload a pipeline's models as its call does at its end; a modular pipeline leaves that to its components."""
    if (free := getattr(pipe, "maybe_free_model_hooks", None)) is not None:
        free()


def _not_entered(pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
    """Stands around the call of a pipeline whose attachment's block was never entered."""
    raise GuardError(
        "a guard was attached to this pipeline, but its block was never entered, so nothing would be guarded; "
        "write `with guard.attach(pipe) as watch: pipe(...)`"
    )
