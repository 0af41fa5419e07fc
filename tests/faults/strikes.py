"""How each thing is made to go wrong, for as long as a block lasts."""

from __future__ import annotations

import copy
import functools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.model import LatentCLIP
from tests.faults.scene import STEPS, Scene, lenient

Strike = Callable[[Scene], AbstractContextManager[object]]
LAST = STEPS - 1
SOON = 0.05  # seconds until whoever waits has had enough


def damaged(name: str, damage: Callable[[Path], None]) -> Strike:
    """A file of the guard's folder is not what was written there."""

    @contextmanager
    def strike(scene: Scene) -> Iterator[None]:
        damage(scene.folder / name)
        yield

    return strike


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Somebody's edit of a text."""

    def edit(path: Path) -> None:
        text = path.read_text()
        assert old in text, f"{name} has no {old!r} to edit"
        path.write_text(text.replace(old, new, 1))

    return edit


def of_model(change: Callable[[Tensor], Tensor], *, at_the_end: bool = False) -> Strike:
    """What the Latent-CLIP says of latents is changed, or it fails: at every look, or at the last one only."""

    def strike(scene: Scene) -> AbstractContextManager[object]:
        encode = LatentCLIP.encode_latents

        def changed(self: LatentCLIP, latents: Tensor, noise_level: float, normalize: bool = False) -> Tensor:
            seen = encode(self, latents, noise_level, normalize)
            spared = at_the_end and noise_level > 0
            return change(seen) if scene.armed and not spared else seen

        return patch.object(LatentCLIP, "encode_latents", changed)

    return strike


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises it, whatever it is given."""

    def raises(*_: Any, **__: Any) -> Any:
        raise error

    return raises


def in_place_of(owner: Any, name: str, scene: Scene, failing: Callable[..., Any]) -> AbstractContextManager[object]:
    """A function fails once the scene is armed, however early it was looked up."""
    own = getattr(owner, name)

    @functools.wraps(own)  # pipelines look at its arguments
    def either(*args: Any, **kwargs: Any) -> Any:
        return (failing if scene.armed else own)(*args, **kwargs)

    return patch.object(owner, name, either)


def thresholds(value: float) -> Strike:
    """Thresholds are no numbers."""
    return lambda scene: in_place_of(Scorer, "thresholds", scene, lambda self, level: torch.full((1,), value))


@contextmanager
def of_vae(scene: Scene) -> Iterator[None]:
    """The VAE fails, whichever way it is asked."""
    failing = raising(RuntimeError("the VAE is out of order"))
    with in_place_of(scene.pipe.vae, "_decode", scene, failing), in_place_of(scene.pipe.vae, "_encode", scene, failing):
        yield


def of_scheduler(step: Callable[..., Any]) -> Strike:
    """The scheduler's steps go wrong, before a guard is attached."""
    return lambda scene: in_place_of(type(scene.pipe.scheduler), "step", scene, step)


def scheduler_gives_nan(scene: Scene) -> AbstractContextManager[object]:
    """The last step gives NaN latents for the image that was safe."""
    step = type(scene.pipe.scheduler).step

    def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        last = self.step_index == LAST
        output = step(self, *args, **kwargs)
        if last:
            output[0][1 - scene.known.unsafe] = torch.nan
        return output

    return of_scheduler(stepped)(scene)


def denoiser(forward: Callable[..., Any]) -> Strike:
    """The denoiser fails."""
    return lambda scene: in_place_of(type(scene.pipe.unet), "forward", scene, forward)


def hanging(part: Callable[[Callable[..., Any]], Strike]) -> Strike:
    """A part of the work never ends, and whoever waits for it gives up: by a signal, or, of a service, in time."""

    def ring(*_: Any) -> None:
        raise TimeoutError("it took too long")

    @contextmanager
    def strike(scene: Scene) -> Iterator[None]:
        def hangs(*_: Any, **__: Any) -> Any:
            if scene.released is not None:
                scene.released.wait(60)
                raise TimeoutError("it was let go")
            signal.setitimer(signal.ITIMER_REAL, SOON)
            time.sleep(60)

        scene.deadline = 1.0
        before = signal.signal(signal.SIGALRM, ring)
        try:
            with part(hangs)(scene):
                yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return strike


def calls_back(act: Callable[[Scene, Any, int, dict[str, Tensor]], dict[str, Tensor]]) -> Strike:
    """A callback of the caller's own does something after each step."""

    @contextmanager
    def strike(scene: Scene) -> Iterator[None]:
        scene.callbacks.append(lambda pipe, step, timestep, values: act(scene, pipe, step, values))
        yield

    return strike


def fails(scene: Scene, pipe: Any, step: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
    raise ZeroDivisionError("the callback is out of order")


def puts_in_the_unsafe(scene: Scene, pipe: Any, step: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
    if step < LAST:
        return values
    return {**values, "latents": scene.known.unsafe_latents.expand_as(values["latents"]).clone()}


def interrupts(scene: Scene, pipe: Any, step: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
    pipe._interrupt = step == 1
    return values


def previews(scene: Scene, pipe: Any, step: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
    pipe.vae.decode(values["latents"] / pipe.vae.config.scaling_factor)
    return values


@contextmanager
def exchanges_the_bank(scene: Scene) -> Iterator[None]:
    """The bank in force becomes one that nothing is over, in the midst of the steps."""

    def exchange(scene: Scene, pipe: Any, step: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
        assert scene.loaded is not None
        if step == 1:
            scene.loaded.bank = lenient(scene.loaded.bank)
        return values

    scene.reloads = True
    with calls_back(exchange)(scene):
        yield


@contextmanager
def hangs_up(scene: Scene) -> Iterator[None]:
    """A client is gone before its images are there."""
    scene.hangs_up = True
    yield


@contextmanager
def another_vae(scene: Scene) -> Iterator[None]:
    """A VAE of the same shape, with other weights."""
    own, other = scene.pipe.vae, copy.deepcopy(scene.pipe.vae)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    scene.pipe.vae = other
    try:
        yield
    finally:
        scene.pipe.vae = own


@contextmanager
def unknown_scheduler(scene: Scene) -> Iterator[None]:
    """A class that somebody made, of the name of one that is known."""
    own = scene.pipe.scheduler
    homemade = type(type(own).__name__, (type(own),), {"__module__": "homemade"})
    scene.pipe.scheduler = homemade.from_config(own.config)
    try:
        yield
    finally:
        scene.pipe.scheduler = own


@contextmanager
def full_disk(scene: Scene) -> Iterator[None]:
    """Nothing more can be written into the audit log."""
    scene.audit = Path("/dev/full")
    yield


@contextmanager
def asks_for_latents(scene: Scene) -> Iterator[None]:
    """The caller wants latents, not pictures."""
    scene.output_type = "latent"
    yield
