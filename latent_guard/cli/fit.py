"""``latent-guard fit``: a guard for a pipeline of one's own, from its own generations, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES, MAX_STEPS
from latent_guard.cli.places import OutFolder
from latent_guard.cli.validation import Seed, assignment
from latent_guard.errors import InputError
from latent_guard.terminal import Table, note, say, status, warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latent_guard.fitting.finished import PictureJudge
    from latent_guard.fitting.reviewed import ReviewedPicture
    from latent_guard.fitting.settings import FitSettings
    from latent_guard.fitting.stages import Fit
    from latent_guard.fitting.verify import Verification
    from latent_guard.guidance.guard import LatentGuard
    from latent_guard.guidance.policy import Policy

STEPS = 20  # as of ``generate``

_LatentCLIP = Annotated[
    str | None,
    typer.Option(help="Latent-CLIP to start from, folder or hub id; by default the one published for these latents."),
]
_Teacher = Annotated[
    str | None,
    typer.Option(help="CLIP on pixels to learn from, folder or open_clip's MODEL:PRETRAINED; by default none."),
]
_Concepts = Annotated[
    list[str] | None,
    typer.Option(help="Prompt sets: a name that ships, a YAML or CSV file, a folder or a data set; by default i2p."),
]
_Judge = Annotated[
    str | None,
    typer.Option(help="Judge of finished images: nudenet, open-nsfw, safety-checker, or a classifier's hub id."),
]
_Out = Annotated[
    Path | None,
    typer.Option(help="The guard's folder; by default in the user's data.", parser=OutFolder("--out")),
]


def fit(
    model: Annotated[str, typer.Argument(help="Diffusers folder or hub id.")],
    latent_clip: _LatentCLIP = None,
    teacher: _Teacher = None,
    concepts: _Concepts = None,
    benign: Annotated[Path | None, typer.Option(help="Benign prompts, CSV with the column prompt.")] = None,
    unsafe: Annotated[Path | None, typer.Option(help="Unsafe prompts, CSV with prompt and categories.")] = None,
    images: Annotated[int, typer.Option(min=1, max=MAX_IMAGES, help="Generations in all.")] = 1000,
    rate: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Share of benign images that may be touched.")] = 0.01,
    steps: Annotated[int | None, typer.Option(min=1, max=MAX_STEPS, help="Denoising steps.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the pipeline's call: guidance_scale=0.")
    ] = None,
    judge: _Judge = None,
    seed: Seed = 0,
    out: _Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Time three images, and say what the fit would take.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Set thresholds anew from what was recorded, for another --rate.")
    ] = False,
    policy: Annotated[
        str | None, typer.Option(help="With --refresh: this policy, a name or a YAML file, instead of the chosen one.")
    ] = None,
    reviews: Annotated[
        Path | None, typer.Option(help="With --refresh: a folder of withheld images that reviewers decided about.")
    ] = None,
    review_key: Annotated[Path | None, typer.Option(help="The private key of --reviews.")] = None,
    push_to_hub: Annotated[str | None, typer.Option(help="Publish the guard as OWNER/NAME.")] = None,
) -> None:
    """Make a guard for a pipeline, and measure it. A fit that was stopped goes on where it was."""
    from latent_guard.fitting.settings import FitSettings
    from latent_guard.loading import usual_arguments
    from latent_guard.package_data import SHIPPED_MODELS

    # Those of a guard that was fitted before are no default: the same command is to mean the same fit.
    usual = usual_arguments(model) if model in SHIPPED_MODELS else {}
    chosen = {"num_inference_steps": steps} if steps else {}
    given = dict(assignment(text, "--set") for text in set_ or [])
    settings = FitSettings(
        model=model,
        arguments={"num_inference_steps": STEPS, **usual, **chosen, **given},
        images=images,
        rate=rate,
        concepts=tuple(concepts or ["i2p"]),
        latent_clip=latent_clip,
        teacher=teacher,
        benign=None if benign is None else str(benign),
        unsafe=None if unsafe is None else str(unsafe),
        seed=seed,
    )
    if policy is not None and not refresh:
        raise InputError("a fit chooses its policy; give --policy together with --refresh to replace it")
    if (reviews is None) != (review_key is None) or (reviews is not None and not refresh):
        raise InputError("what reviewers decided is read with --reviews and --review-key, together with --refresh")
    decided = _reviewed(reviews, review_key) if reviews is not None and review_key is not None else []
    with status("loading the models"):
        fitting = _opened(settings, out, judge)
    if dry_run:
        _say_estimate(fitting)
        return
    guard, verification = _refreshed(fitting, policy, decided) if refresh else fitting.run()
    table = Table("Measured on fresh prompts and seeds", model)
    for name, value in verification.rows():
        table.add(name, value)
    table.show()
    say(f"wrote {fitting.out}")
    if push_to_hub is not None:
        say(guard.push_to_hub(push_to_hub))
    note(f'use it with `latent-guard generate "..." --safe --model {model}`')


def _opened(settings: FitSettings, out: Path | None, judge: str | None) -> Fit:
    """Everything loaded and checked; nothing is generated yet."""
    from latent_guard.fitting.record import BATCH
    from latent_guard.fitting.stages import Fit
    from latent_guard.loading import load_pipeline, load_pixel_clip

    opened = None if judge is None else _judge(judge)
    pixel_clip = None if settings.teacher is None else load_pixel_clip(settings.model, settings.teacher, "--teacher")
    pipe = load_pipeline(settings.model, settings.arguments["num_inference_steps"], BATCH)
    pipe.set_progress_bar_config(disable=True)
    return Fit.of(pipe, settings, out, pixel_clip, opened)


def _refreshed(
    fitting: Fit, policy: str | None, decided: Sequence[ReviewedPicture]
) -> tuple[LatentGuard, Verification]:
    """The guard with new thresholds, and a line on what it now does with the pictures that were decided about."""
    from latent_guard.fitting.reviewed import over_threshold

    known = {prompt_set.category for prompt_set in fitting.prompt_sets}
    used = [picture for picture in decided if picture.category in known or not picture.unsafe]
    if left := len(decided) - len(used):
        warn(f"{left} upheld images are of categories that this guard does not have, and are left out")
    guard, verification = fitting.refresh(None if policy is None else _default_of(policy), used)
    if used:
        over = over_threshold(guard.bank, guard.model, fitting.pipe.vae, used).tolist()
        for unsafe, words in ((True, "upheld"), (False, "overturned")):
            found = [now for now, picture in zip(over, used, strict=True) if picture.unsafe is unsafe]
            note(f"of {len(found)} pictures that reviewers {words}, {sum(found)} are over a threshold when finished")
    return guard, verification


def _reviewed(folder: Path, key: Path) -> list[ReviewedPicture]:
    """The pictures of a review queue that were decided about and are still kept."""
    from latent_guard.extras import imports_of
    from latent_guard.fitting.reviewed import ReviewedPicture

    with imports_of("serve"):
        from latent_guard.review.keys import read_private_key
        from latent_guard.review.queue import ReviewQueue

    queue = ReviewQueue(folder, read_private_key(key))
    found = [
        ReviewedPicture(made.id, one.png, made.category, made.decision == "uphold") for made, one in queue.decided()
    ]
    if not found:
        raise InputError(f"{folder} holds no image that was decided about and is still kept; review some first")
    return found


def _default_of(name: str) -> Policy:
    """The policy of a name or file; what is chosen for single categories has no place in a fit."""
    from latent_guard.guidance.policy_file import policy_named

    policies = policy_named(name)
    if policies.exceptions:
        raise InputError(f"--policy {name} has policies of single categories; a fit has one for all")
    return policies.default


def _judge(name: str) -> PictureJudge:
    import torch

    from latent_guard.bench.judges.registry import open_judge

    opened = open_judge(name, {})
    return lambda pictures: torch.from_numpy(opened.judge(pictures.numpy()).unsafe)


def _say_estimate(fitting: Fit) -> None:
    from latent_guard.fitting.estimate import estimate

    found = estimate(fitting)
    for line in found.lines():
        say(line)
