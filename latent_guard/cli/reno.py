"""``latent-guard reno``: generate images from initial noise that is optimised for rewards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.bounds import MAX_GUIDANCE, MAX_SEARCH, MAX_STEPS
from latent_guard.cli.places import OutFolder
from latent_guard.cli.validation import NumImages, Prompt, Seed, check_request
from latent_guard.errors import InputError
from latent_guard.package_data import SHIPPED_FEW_STEP
from latent_guard.reno.reward_names import LATENT_CLIP, REWARDS, SAFETY
from latent_guard.terminal import progress, say, status, warn

if TYPE_CHECKING:
    from PIL.Image import Image

    from latent_guard.reno.optimise import Iteration
    from latent_guard.reno.result import OptimisedNoise
    from latent_guard.reno.rewards import Reward

TILES = 8  # intermediate images in a strip, the first and the last among them
TILE = 128  # pixels of a side of each

_Reward = Annotated[
    list[str],
    typer.Option(
        help="latent-clip: fit to the prompt; safety: distance from the bank's concepts; pixel-clip: fit to the prompt "
        "by a CLIP on decoded pixels. Repeatable, with a weight as in safety=2; the weighted sum is maximised."
    ),
]
_Model = Annotated[str, typer.Option(help="A one-step or few-step pipeline's folder or hub id.")]
_Guard = Annotated[
    str | None, typer.Option(help="Guard folder or hub id; by default beside the model, or fitted to it.")
]
_Bank = Annotated[Path | None, typer.Option(help="Concept bank folder; by default the guard's or beside the model.")]
_PixelClip = Annotated[
    str | None,
    typer.Option(
        help="For pixel-clip: a folder, a hub id or open_clip's MODEL:PRETRAINED; by default beside the model."
    ),
]
_Iterations = Annotated[
    int, typer.Option(min=1, max=MAX_SEARCH, help="Iterations, the first of which draws from the initial noise.")
]
_Steps = Annotated[
    int, typer.Option(min=1, max=MAX_STEPS, help="Denoising steps of a draw; the gradient goes back through all.")
]
_Rate = Annotated[
    float,
    typer.Option(
        min=0, max=1e4, help="Learning rate of the noise; the authors use 5; use 60 for safety in four steps."
    ),
]
_Target = Annotated[float | None, typer.Option(min=-1e6, max=1e6, help="Stop an image once its reward is this high.")]
_Patience = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_SEARCH, help="Stop an image after this many iterations without an improvement."),
]
_Guidance = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=MAX_GUIDANCE,
        help="By default 0; of a model that takes the scale as an input, its own.",
    ),
]
_Out = Annotated[Path, typer.Option(help="Folder for PNGs and JSON.", parser=OutFolder("--out"))]
_Checkpointing = Annotated[
    bool, typer.Option("--checkpointing", help="Less memory: activations are computed twice instead of kept.")
]


def reno(
    prompt: Prompt,
    reward: _Reward = [LATENT_CLIP],  # noqa: B006  (typer takes no tuple for a list)
    iterations: _Iterations = 50,
    save_steps: Annotated[bool, typer.Option("--save-steps", help="Also write a strip of intermediates.")] = False,
    num_images: NumImages = 1,
    seed: Seed = 0,
    steps: _Steps = 1,
    guidance_scale: _Guidance = None,
    learning_rate: _Rate = 5.0,
    target: _Target = None,
    patience: _Patience = None,
    checkpointing: _Checkpointing = False,
    model: _Model = SHIPPED_FEW_STEP,
    guard: _Guard = None,
    bank: _Bank = None,
    pixel_clip: _PixelClip = None,
    out: _Out = Path("outputs/reno"),
) -> None:
    """Draw images whose initial noise was optimised, by default for how well the latent fits the prompt."""
    from latent_guard.cli.outputs import pictures, record_of
    from latent_guard.cli.replacing import replace_run
    from latent_guard.loading import load_pipeline
    from latent_guard.reno.optimise import RenoSettings, optimise_noise
    from latent_guard.reno.result import StopReason

    check_request(prompt, num_images, seed)
    weights = dict(_weighted(text) for text in reward)
    if len(weights) < len(reward):
        raise InputError("--reward names one reward twice; give it a weight instead, as safety=2")
    settings = RenoSettings(iterations, learning_rate, target=target, patience=patience, checkpointing=checkpointing)
    with status("loading the models"):
        pipe = load_pipeline(model, steps, num_images, half="bfloat16")
        rewards = [_reward_named(name, weight, model, guard, bank, pixel_clip) for name, weight in weights.items()]
    steps_shown = _StepsShown(settings.iterations) if save_steps else None
    scale = _usual_guidance(pipe) if guidance_scale is None else {"guidance_scale": guidance_scale}
    arguments: dict[str, Any] = {**scale, "num_images_per_prompt": num_images, "num_inference_steps": steps}
    with _progress(settings.iterations) as advance:
        result = optimise_noise(
            pipe, prompt, rewards, settings, seed=seed, observer=_each(advance, steps_shown), **arguments
        )
    run = {"prompt": prompt, "seed": seed, "model": model, **arguments, "rewards": weights, "settings": vars(settings)}
    images = pictures(result.images)
    strips = pictures(steps_shown.strips(pipe), suffix="-steps") if steps_shown else {}
    replace_run(out, record_of(run, None, None), {**images, **_records(result), **strips})
    for name in images:
        say(out / name)
    for image, reason in enumerate(result.stop_reasons):
        if reason is StopReason.NOT_FINITE:
            warn(f"image {image}: {reason.value}; this is its best until then")


def _usual_guidance(pipe: Any) -> dict[str, float]:
    """Distilled models are sampled without guidance; LCM's and FLUX.1-dev's read the scale, and have a default."""
    reads_scale = {"unet": "time_cond_proj_dim", "transformer": "guidance_embeds"}
    for part, setting in reads_scale.items():
        if (model := getattr(pipe, part, None)) is not None and model.config.get(setting):
            return {}
    return {"guidance_scale": 0.0}


class _StepsShown:
    """The raw latents of evenly spread iterations, the first and the last among them."""

    def __init__(self, iterations: int) -> None:
        tiles = min(TILES, iterations)
        self._chosen = {round(place * (iterations - 1) / max(tiles - 1, 1)) for place in range(tiles)}
        self._kept: list[Iteration] = []

    def add(self, iteration: Iteration) -> None:
        if self._kept and self._kept[-1].number not in self._chosen:
            self._kept.pop()  # it is no longer the last iteration
        self._kept.append(iteration)

    def strips(self, pipe: Any) -> list[Image]:
        """The kept iterations of each image, side by side, with their rewards."""
        from latent_guard.contact_sheet import contact_sheet
        from latent_guard.reno.pictures import decoded

        columns = [decoded(pipe, iteration.raw) for iteration in self._kept]
        totals = [iteration.total.tolist() for iteration in self._kept]
        sheets = []
        for image, steps in enumerate(zip(*columns, strict=True)):
            labels = [
                f"{iteration.number}: {of_all[image]:.2f}" for iteration, of_all in zip(self._kept, totals, strict=True)
            ]
            sheets.append(contact_sheet(steps, labels, len(steps), TILE))
        return sheets


def _each(advance: Callable[[], None], steps_shown: _StepsShown | None) -> Callable[[Iteration], None]:
    def observe(iteration: Iteration) -> None:
        advance()
        if steps_shown is not None:
            steps_shown.add(iteration)

    return observe


@contextmanager
def _progress(iterations: int) -> Iterator[Callable[[], None]]:
    with progress() as bar:
        task = bar.add_task("optimising the noise", total=iterations)
        yield lambda: bar.advance(task)


def _records(result: OptimisedNoise) -> dict[str, bytes]:
    """The files of each image: its record, and the curve of its rewards."""
    from latent_guard.files.json_text import json_text
    from latent_guard.reno.pictures import reward_curves

    files: dict[str, bytes] = {}
    for image in range(len(result.images)):
        files[f"{image:03d}.json"] = (json_text(result.to_dict(image), 1) + "\n").encode()
        files[f"{image:03d}-rewards.png"] = reward_curves(result, image)
    return files


def _weighted(text: str) -> tuple[str, float]:
    name, equals, weight = text.partition("=")
    if name not in REWARDS:
        raise InputError(f"--reward {name!r} is not known; choose from {', '.join(REWARDS)}")
    try:
        return name, float(weight) if equals else 1.0
    except ValueError:
        raise InputError(f"--reward {text!r}: the weight must be a number, as in safety=2") from None


def _reward_named(
    name: str, weight: float, model: str, guard: str | None, bank: Path | None, pixel_clip: str | None
) -> Reward:
    from latent_guard.loading import load_canary, load_guard, load_latent_clip, load_pixel_clip
    from latent_guard.reno.rewards import LatentClipReward, PixelClipReward, SafetyReward

    if name == LATENT_CLIP:
        return LatentClipReward(load_latent_clip(model, guard), load_canary(model, guard), weight=weight)
    if name == SAFETY:
        loaded = load_guard(model, guard, bank)
        return SafetyReward(loaded.model, loaded.bank, loaded.canary, weight=weight)
    loaded_clip = load_pixel_clip(model, pixel_clip)
    if loaded_clip is None:
        raise InputError(f"no pixel_twin lies beside {model}; name a CLIP on pixels with --pixel-clip")
    return PixelClipReward(loaded_clip, weight=weight)
