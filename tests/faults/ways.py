"""Every way in which images come to the guard: how both are made and judged there, and what that way has at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from latent_guard import SafetyBlock, SafetyChecker
from latent_guard.guidance.callback import LatentGuardCallback
from latent_guard.guidance.moderation import Finding, Moderator
from latent_guard.guidance.verdict import Verdict
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines import vae as autoencoder
from tests.faults.outcome import Handed, Judged
from tests.faults.scene import CALL, PROMPT, STEPS, Scene, decoded_alone, pixels_of
from tests.faults.service import service

CALLED = ("steps", "callbacks", "exchange", "audit")


@dataclass(frozen=True)
class Way:
    """One column of the matrix.

    Attributes:
        name: its heading.
        run: makes both images.
        has: what a fault may strike there; what it lacks is said by ``ABSENT``.
        watched: what its verdicts must say was watched.
        observes: whether it masks nothing.
        unasked: faults by name at which nobody asks it, so that what leaves is not judged.
        of_pixels: whether it is asked about pictures, which are made by then.
    """

    name: str
    run: Callable[[Scene], Handed]
    has: tuple[str, ...] = CALLED
    watched: str = "both"
    observes: bool = False
    unasked: tuple[str, ...] = ()
    of_pixels: bool = False


ABSENT = {
    "steps": "it makes no step",
    "exchange": "its one look has no middle",
    "clients": "it has no clients",
    "callbacks": "it runs no code of the caller's",
    "audit": "it writes no audit log",
}


def attach(scene: Scene) -> Handed:
    """``with guard.attach(pipe)``."""
    with scene.guard().attach(scene.pipe) as watch:
        images = scene.pipe(PROMPT, generator=scene.generators(), **scene.call()).images
    return _handed(scene, images, watch.verdicts)


def at_the_decoder(scene: Scene) -> Handed:
    """``with guard.attach(pipe, gate="decode")``."""
    with scene.guard().attach(scene.pipe, gate="decode") as watch:
        images = scene.pipe(PROMPT, generator=scene.generators(), **scene.call()).images
    return _handed(scene, images, watch.verdicts[-len(images) :])  # previews have verdicts of their own


def generate(scene: Scene) -> Handed:
    """``guard.generate``."""
    output = scene.guard().generate(scene.pipe, PROMPT, seed=scene.known.seed, **scene.call())
    return _handed(scene, output.images, output.verdicts)


def callback(scene: Scene) -> Handed:
    """``callback_on_step_end=LatentGuardCallback(guard)``, the last of several."""
    own = LatentGuardCallback(scene.guard())
    images = scene.pipe(PROMPT, generator=scene.generators(), **scene.call(own)).images
    return _handed(scene, images, own.verdicts)


def block(scene: Scene) -> Handed:
    """``SafetyBlock`` in a modular pipeline of the same parts."""
    blocks = diffusers.StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("safety", SafetyBlock(scene.guard()), list(blocks.sub_blocks).index("decode"))
    pipe = blocks.init_pipeline()
    own = {name: part for name, part in scene.pipe.components.items() if name in pipe.component_names}
    guider = diffusers.ClassifierFreeGuidance(guidance_scale=CALL["guidance_scale"])
    pipe.update_components(**{name: part for name, part in own.items() if part is not None}, guider=guider)
    side = scene.known.pictures.shape[1]
    call = {"num_images_per_prompt": 2, "num_inference_steps": STEPS, "height": side, "width": side}
    state = pipe(prompt=PROMPT, generator=scene.generators(), output_type=scene.output_type, output=None, **call)
    return _handed(scene, state.get("images"), state.get("verdicts"))


def check(scene: Scene) -> Handed:
    """``latent-guard check``: a picture is used where it is found safe."""
    moderator = Moderator(scene.guard(), scene.pipe.vae)
    if scene.output_type == "latent":
        path, raw = latents_file(scene)
        return of_findings(scene, moderator.check([path], scaled=True), raw)
    findings = moderator.check([_picture_of(scene, image) for image in range(2)])
    return of_findings(scene, findings, autoencoder.encode(scene.pipe.vae, pixels_of(scene.known.pictures)))


def safety_checker(scene: Scene) -> Handed:
    """``SafetyChecker``, asked as pipelines of Cosmos ask: of each decoded picture, a video of one frame."""
    checker = SafetyChecker(scene.guard(), scene.pipe.vae)
    images = scene.pipe(PROMPT, generator=scene.generators(), **scene.call()).images
    pixels = pixels_of(images)
    frames = [checker.check_video_safety(video) for video in pixels.movedim(1, -1)[:, None].numpy()]
    shown = [video[0].astype(np.float32) / 255 for video in frames]
    raw = autoencoder.encode(scene.pipe.vae, pixels)
    return Handed(shown, [_of_verdict(verdict) for verdict in checker.verdicts], list(zip(raw, images, strict=True)))


WAYS = (
    Way("`attach`", attach),
    Way('`attach(gate="decode")`', at_the_decoder, watched="decode"),
    Way("`generate`", generate),
    Way("`LatentGuardCallback`", callback, watched="final", observes=True),
    Way("`SafetyBlock`", block, has=("steps", "audit"), watched="final"),
    Way("`check`", check, has=(), watched="final", observes=True),
    Way(
        "`SafetyChecker`",
        safety_checker,
        watched="final",
        unasked=('`output_type="latent"`', "previews, decoded by a callback"),
        of_pixels=True,
    ),
    Way("service", service, has=("steps", "exchange", "clients", "audit")),
)


def latents_file(scene: Scene) -> tuple[Path, Tensor]:
    """A file of the latents that the pipeline ends with, and the same raw."""
    latents = scene.pipe(PROMPT, generator=scene.generators(), **{**scene.call(), "output_type": "latent"}).images
    save_file({"latents": latents.contiguous()}, path := scene.work / "latents.safetensors")
    return path, _raw(scene, latents)


def of_findings(scene: Scene, findings: Sequence[Finding], raw: Tensor) -> Handed:
    """What is used of the two images after these findings."""
    shown = [own if f.decision == "allowed" else None for own, f in zip(scene.known.pictures, findings, strict=True)]
    judged = list(zip(raw, scene.known.pictures, strict=True))
    return Handed(shown, [_of_finding(finding) for finding in findings], judged)


def _handed(scene: Scene, images: Any, verdicts: Any) -> Handed:
    if scene.output_type == "latent":
        images = decoded_alone(scene.pipe, _raw(scene, images))
    return Handed(list(images), [_of_verdict(verdict) for verdict in verdicts])


def _raw(scene: Scene, latents: Tensor) -> Tensor:
    return LatentSpace.of_vae(scene.pipe.vae).to_raw(latents)


def _of_verdict(verdict: Verdict) -> Judged:
    return Judged(verdict.decision.value, next(iter(verdict.scores.values()), float("nan")), verdict.gate)


def _of_finding(finding: Finding) -> Judged:
    return Judged(finding.decision, float("nan") if finding.score is None else finding.score, "final")


def _picture_of(scene: Scene, image: int) -> Path:
    path = scene.work / f"{image}.png"
    Image.fromarray(pixels_of(scene.known.pictures)[image].movedim(0, -1).numpy()).save(path)
    return path
