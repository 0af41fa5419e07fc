"""The gate at the decoder alone: for pipelines whose steps the guard does not know, all that it can judge.

Whatever becomes pixels passes ``vae.decode`` in raw latents, whichever class of pipeline it is of. Nothing is seen on
the way, so nothing is steered or ended early.

Shapes: B images, C latent channels, T latent frames, H and W latent positions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any

from torch import Tensor

from latent_guard.errors import GuardError
from latent_guard.guidance.fail_open import OnError, RefusalError, guarded
from latent_guard.guidance.final_check import final_outcome
from latent_guard.guidance.outcome import blocked, unchecked
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.guidance.watch import OnBlock, OnVerdicts
from latent_guard.pipelines.hook import AroundCall, around
from latent_guard.pipelines.latents import Decodes

NOT_DECODED = (
    "this call decoded nothing, so that nothing of it was judged: its output is not handed out; ask for pictures, or "
    "attach the guard at the steps too"
)


@dataclass
class DecodeWatch:
    """What was decoded inside one ``with guard.attach(pipe, gate="decode") as watch`` block.

    Attributes:
        decodes: what the pipeline decodes.
        verdicts: one for each picture, or video, that was decoded, in their order; a call that decodes in pieces has
            one for each piece.
    """

    decodes: Decodes
    scorer: Scorer
    policies: Policies
    on_block: OnBlock = "neutral"
    on_error: OnError = "close"
    on_verdicts: OnVerdicts | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    def decoding(self, vae: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        """Stands around ``vae.decode``: what is to be masked is decoded as mid-gray."""
        names = [name for name in arguments.arguments if name != "self"]
        given = arguments.arguments[names[0]]
        if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim not in (4, 5):
            raise RefusalError(f"what is to be decoded is {type(given).__name__}, which the guard cannot judge")
        failed = partial(self._pass_unchecked, len(self.verdicts), len(given))
        with guarded(self.on_error, "what is decoded goes on unguarded", failed):
            arguments.arguments[names[0]] = self._passed(given)
        return original(*arguments.args, **arguments.kwargs)

    def _passed(self, given: Tensor) -> Tensor:
        """Raw latents (B, C, H, W), or (B, C, T, H, W), with those that are to be masked in neutral."""
        outcome = final_outcome(self.scorer, given.detach(), self.policies, len(self.verdicts))
        verdicts = [replace(verdict, gate="decode") for verdict in outcome.verdicts]
        self.verdicts += verdicts
        if self.on_verdicts is not None:
            self.on_verdicts(verdicts)
        if self.on_block == "raise" and outcome.masked.any():
            raise blocked(verdicts)
        if not outcome.masked.any():
            return given
        passed = given.clone()
        neutral = self.decodes.neutral_raw.to(passed)
        passed[outcome.masked.to(given.device)] = neutral if given.ndim == 4 else neutral[:, None]
        return passed

    def _pass_unchecked(self, first: int, count: int) -> None:
        self.verdicts[first:] = [replace(verdict, gate="decode") for verdict in unchecked(first, count)]


class DecodeAttachment(AbstractContextManager[DecodeWatch]):
    """What ``guard.attach(pipe, gate="decode")`` gives; until its ``with`` block is left, calls outside are errors."""

    def __init__(self, watch: DecodeWatch, before_call: Callable[[Mapping[str, Any]], None]) -> None:
        """Attach; ``InputError`` if the pipeline is guarded already."""
        self._watch = watch
        self._before_call = before_call
        self._vae = watch.decodes.pipe.vae
        self._stack = ExitStack()
        self._around_call = AroundCall(watch.decodes.pipe, _not_entered)

    def __enter__(self) -> DecodeWatch:
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

    @contextmanager
    def _installed(self) -> Iterator[None]:
        with around(self._vae, "decode", self._watch.decoding, methods_only=False) as in_place:
            self._in_place = in_place
            yield

    def _call(self, pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        if pipe is not self._watch.decodes.pipe:
            raise RefusalError("this is a copy of a guarded pipeline; attach the guard to the copy itself")
        self._before_call(arguments.arguments)
        before = len(self._watch.verdicts)
        output = original(*arguments.args, **arguments.kwargs)
        if pipe.vae is not self._vae or not self._in_place():
            raise RefusalError("the VAE or its `decode` was replaced inside the guarded block; set it before attaching")
        if len(self._watch.verdicts) == before or _gives_latents(arguments):
            raise RefusalError(NOT_DECODED)
        return output


def _gives_latents(arguments: inspect.BoundArguments) -> bool:
    asked = inspect.BoundArguments(arguments.signature, arguments.arguments.copy())
    asked.apply_defaults()
    return bool(asked.arguments.get("output_type") == "latent")


def _not_entered(pipe: Any, original: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
    raise GuardError(
        "a guard was attached to this pipeline, but its block was never entered, so nothing would be guarded; "
        "write `with guard.attach(pipe) as watch: pipe(...)`"
    )
