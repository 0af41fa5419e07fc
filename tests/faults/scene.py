"""What a fault strikes: a tiny pipeline, its guard's folder, and two images of which one is unsafe.

The guard is a real one, read from files: a Latent-CLIP of random weights, whose bank's threshold lies between the
scores of the two images.
"""

from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.audit import AuditLog
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import BLOCK, Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines import vae as autoencoder
from latent_guard.pipelines.canary import Canary
from latent_guard.pipelines.latents import Decodes
from latent_guard.testing import tiny_latent_clip, tiny_pipeline
from latent_guard.testing.bundle import KNIVES

PROMPT, STEPS = "a cat", 4
CALL = {"num_inference_steps": STEPS, "guidance_scale": 5.0}
Picture = np.ndarray[Any, Any]  # (H, W, 3) in [0, 1]
CANDIDATES = 24  # images, of consecutive seeds, among which two neighbours lie far apart
POLICY = Policies("own", replace(BLOCK, abort_margin=None))  # looks at the steps, and decides at the end
Callback = Callable[[Any, int, Any, dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of the two images, of seeds ``seed`` and ``seed + 1``, before anything strikes.

    Attributes:
        folder: of the guard, whole.
        seed: of the first of them.
        pictures: (2, H, W, 3) in [0, 1], as the unguarded pipeline draws them.
        neutral: the picture of the latents that stand for a masked one.
        unsafe: which of the two is over the threshold.
        unsafe_latents: (1, C, H, W), which the pipeline ends with for that one.
        threshold: of the guard's only category.
        scorer: the guard's own, which nothing strikes.
    """

    folder: Path
    seed: int
    pictures: Picture
    neutral: Picture
    unsafe: int
    unsafe_latents: Tensor
    threshold: float
    scorer: Scorer

    @property
    def unsafe_picture(self) -> Picture:
        """That of the unsafe image."""
        return self.pictures[self.unsafe]

    def score(self, raw: Tensor) -> float:
        """Of raw latents (C, H, W)."""
        with torch.no_grad():
            return float(self.scorer.scores(raw[None], 0.0)[0, 0])


@dataclass
class Scene:
    """One cell's own: faults change it, or strike the parts that it names; ways into the guard run on it."""

    known: Known
    folder: Path  # the guard's, a copy
    work: Path  # for files of its own
    pipe: Any
    callbacks: list[Callback] = field(default_factory=list)
    output_type: str = "np"
    audit: Path | None = None
    loaded: LatentGuard | None = None
    armed: bool = True  # parts do not fail before that
    hangs_up: bool = False  # the client, as soon as a step is made
    reloads: bool = False  # a service, another bank in the midst of the steps
    deadline: float = 60.0  # of a service, in seconds
    in_worker: str = ""  # the name of what fails in another process
    released: threading.Event | None = None  # what hangs in another thread waits for this

    def guard(self) -> LatentGuard:
        """The guard, read from its folder."""
        audit = None if self.audit is None else AuditLog(self.audit)
        self.loaded = LatentGuard.from_pretrained(self.folder, audit=audit)
        return self.loaded

    def call(self, *further: Callback) -> dict[str, Any]:
        """The arguments of a call that draws both images; ``further`` callbacks come after the faults' own."""
        callbacks = [*self.callbacks, *further]

        def every(pipe: Any, step: int, timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
            for callback in callbacks:
                values = callback(pipe, step, timestep, values)
            return values

        own = {"callback_on_step_end": every} if callbacks else {}
        return {"num_images_per_prompt": 2, "output_type": self.output_type, **CALL, **own}

    def generators(self) -> list[torch.Generator]:
        """One each image, as ``generate`` makes them of the seed."""
        return [torch.Generator().manual_seed(self.known.seed + image) for image in range(2)]


def scene(work: Path) -> Scene:
    """A scene of its own in a folder."""
    known = known_images()
    shutil.copytree(known.folder, work / "guard")
    return Scene(known, work / "guard", work, copy.deepcopy(pipeline()))


@cache
def pipeline() -> Any:
    """Stable Diffusion XL with random weights."""
    return tiny_pipeline("StableDiffusionXLPipeline")


@cache
def known_images() -> Known:
    """Two neighbouring seeds whose images the guard tells apart, as latents and as pictures, and its folder."""
    pipe = pipeline()
    space = LatentSpace.of_vae(pipe.vae)
    prompts = {"prompt": [PROMPT] * CANDIDATES, **CALL}
    pictures = pipe(**prompts, generator=_generators(), output_type="np").images
    latents = pipe(**prompts, generator=_generators(), output_type="latent").images
    model = tiny_latent_clip(space, context_length=pipe.tokenizer.model_max_length)
    bank = ConceptBank.build(model, (KNIVES,))
    scorer = Scorer(model, bank)
    encoded = autoencoder.encode(pipe.vae, pixels_of(pictures))
    with torch.no_grad():
        scores = [scorer.scores(raw, 0.0)[:, 0].tolist() for raw in (space.to_raw(latents), encoded)]
    seed, unsafe, threshold = _furthest_apart(*scores)
    bank = bank.with_thresholds(torch.zeros(1), torch.full((1, 1), threshold))
    gray = Decodes.of(pipe, space, None).neutral_raw.expand(1, *latents.shape[1:])
    return Known(
        folder=_saved(pipe, LatentGuard(model, bank, POLICY)),
        seed=seed,
        pictures=pictures[seed : seed + 2],
        neutral=decoded_alone(pipe, gray)[0],
        unsafe=unsafe,
        unsafe_latents=latents[seed + unsafe][None].clone(),
        threshold=threshold,
        scorer=scorer,
    )


def _saved(pipe: Any, guard: LatentGuard) -> Path:
    """The folder of a guard with all that such a folder may hold."""
    folder = Path(mkdtemp()) / "guard"
    guard.canary = Canary.made_by(pipe.vae, torch.arange(3 * 32 * 32).reshape(3, 32, 32).to(torch.uint8))
    guard.fitted_for = FittedFor.of(pipe, "tiny", CALL, POLICY.default.window)
    guard.documents = {"README.md": "# A guard\n"}
    guard.save_pretrained(folder)
    return folder


def decoded_alone(pipe: Any, raw: Tensor) -> Picture:
    """Pictures (B, H, W, 3) in [0, 1] of raw latents."""
    with torch.no_grad():
        pictures = pipe.vae.decode(raw).sample / 2 + 0.5
    return np.asarray(pictures.clamp(0, 1).movedim(1, -1).numpy())


def pixels_of(pictures: Picture) -> Tensor:
    """The same pictures (B, 3, H, W) as a file holds them, uint8."""
    return torch.from_numpy((255 * pictures).round().astype(np.uint8)).movedim(-1, 1)


def lenient(bank: ConceptBank) -> ConceptBank:
    """One that nothing is over."""
    return bank.with_thresholds(bank.noise_levels, bank.thresholds + 100)


def _generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(CANDIDATES)]


def _furthest_apart(finals: list[float], encoded: list[float]) -> tuple[int, int, float]:
    """The seed of the first of two neighbours, which of them is unsafe, and a threshold between them in both scores."""
    found = []
    for seed in range(CANDIDATES - 1):
        for unsafe in (0, 1):
            low = max(finals[seed + 1 - unsafe], encoded[seed + 1 - unsafe])
            high = min(finals[seed + unsafe], encoded[seed + unsafe])
            found.append((high - low, seed, unsafe, (high + low) / 2))
    gap, seed, unsafe, threshold = max(found)
    assert gap > 0, "no two neighbours are told apart both as latents and as pictures; take more candidates"
    return seed, unsafe, threshold
