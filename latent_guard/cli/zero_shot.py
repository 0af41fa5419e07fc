"""``latent-guard zero-shot``: zero-shot accuracy of a Latent-CLIP, beside that of a CLIP on pixels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latent_guard.bounds import MAX_BATCH, MAX_GUIDANCE, MAX_SEED, MAX_STEPS
from latent_guard.cli.places import OutFolder
from latent_guard.errors import InputError
from latent_guard.terminal import Table, progress, say, status, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from latent_guard.zero_shot.evaluate import Batch, Evaluation

TITLES = {"latent_clip": "Latent-CLIP", "pixel_clip": "pixel CLIP"}
REGENERATED = "regenerated"  # folder
_Out = Annotated[Path, typer.Option(help="Folder for the results.", parser=OutFolder("--out"))]


def zero_shot(
    source: Annotated[
        str, typer.Argument(help="Folder with a folder of images a class, parquet, hub id, or latent shards.")
    ],
    classes: Annotated[
        str | None, typer.Option(help="Class names: imagenet, or a text or YAML file; by default the data's own.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set, where it has several.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of labels, where it cannot be told.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Pipeline whose VAE encodes the images, and that regenerates them; by default the shipped one."
        ),
    ] = None,
    guard: Annotated[str | None, typer.Option(help="Guard; by default beside the model, or fitted to it.")] = None,
    pixel_clip: Annotated[
        str | None,
        typer.Option(
            help="CLIP on pixels: a folder, a hub id, open_clip's MODEL:PRETRAINED or hf-hub:ID; else beside the model."
        ),
    ] = None,
    regenerate: Annotated[
        bool, typer.Option("--regenerate", help="Have the pipeline redraw each image from its class name first.")
    ] = False,
    strength: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the schedule that regenerated images are noised by.")
    ] = 0.66,
    steps: Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="Steps of the whole schedule of regeneration.")] = 20,
    guidance_scale: Annotated[
        float | None,
        typer.Option(min=0, max=MAX_GUIDANCE, help="Guidance scale of regeneration; by default the pipeline's own."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the regeneration's noise.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Images a batch.")] = 32,
    out: _Out = Path("outputs/zero_shot"),
) -> None:
    """Classify images from their latents by class names alone; --regenerate is resumed from --out."""
    from latent_guard.cli.zero_shot_models import ZeroShotModels
    from latent_guard.loading import usual_arguments
    from latent_guard.zero_shot.class_set import class_set
    from latent_guard.zero_shot.evaluate import evaluate
    from latent_guard.zero_shot.regenerated import RegenerationSettings

    of_latents = _holds_latents(source)
    if of_latents and regenerate:
        raise InputError(f"{source} holds latents; only images can be regenerated, give a set of images")
    data = _open_source(source, of_latents, split, label_column)
    named = class_set(classes, None if of_latents else data.labels)
    with status("loading the models"):
        models = ZeroShotModels.load(model, guard, pixel_clip, batch_size)
        regeneration = None
        if regenerate:
            scale = guidance_scale if guidance_scale is not None else usual_arguments(model).get("guidance_scale")
            regeneration = RegenerationSettings(
                model or "shipped", strength, steps, scale, seed, models.side, batch_size
            )
            batches = models.at_regenerated(data, named, regeneration, out / REGENERATED)
        else:
            batches = models.at_latents(data, named) if of_latents else models.at_images(data, named)
    images = sum(map(len, data)) if of_latents else data.count
    with status("embedding the class names") as wheel:  # minutes, for ImageNet on a CPU
        seen = evaluate(_tracked(batches, images, wheel.stop), models.by_name, named)
    made_by = {"source": source, "split": split, "classes": classes, "model": model or "shipped", **models.made_by}
    _report(seen, out, {**made_by, "regeneration": asdict(regeneration) if regeneration else None})


def _holds_latents(source: str) -> bool:
    from latent_guard.training.data.checking import SETTINGS
    from latent_guard.training.data.shards import INDEX, SPACE

    return any((Path(source) / name).is_file() for name in (INDEX, SPACE, SETTINGS))


def _open_source(source: str, of_latents: bool, split: str | None, label_column: str | None) -> Any:
    """Latents by their shape, or a set of images."""
    from latent_guard.training.data.in_memory import read_by_shape
    from latent_guard.zero_shot.image_set import open_image_set

    if not of_latents:
        return open_image_set(source, split, label_column)
    if split or label_column:
        raise InputError(f"{source} holds latents, which have no splits and no columns; leave these options out")
    return list(read_by_shape([source]).values())


def _tracked(batches: Iterable[Batch], images: int | None, begin: Callable[[], None]) -> Iterator[Batch]:
    """The batches, under a progress bar of images with their speed and the time left; ``begin`` clears its place."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    begin()
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("classifying", total=images, speed="")
        for batch in batches:
            yield batch
            bar.advance(task, len(batch.keys) + len(batch.skipped))
            speed = bar.tasks[0].speed
            bar.update(task, speed=f"{speed:.1f} images/s" if speed else "")


def _report(seen: Evaluation, out: Path, made_by: Mapping[str, Any]) -> None:
    """Write the results and print them."""
    from latent_guard.bench.runs.provenance import commit
    from latent_guard.files.atomic import write_atomic
    from latent_guard.version import __version__
    from latent_guard.zero_shot.report import confusion_png, per_class_csv, results_json, skipped_csv

    package = {"package": f"latent-guard {__version__}", "commit": commit()}
    table = Table("model", "images", "top-1", "top-5", title="zero-shot, with 95% intervals")
    for name, outcome in seen.outcomes.items():
        write_atomic(out / f"{name}_per_class.csv", per_class_csv(outcome))
        title = f"{TITLES[name]}: {outcome.top(1).percent()}"
        write_atomic(out / f"{name}_confusion.png", confusion_png(outcome, title))
        table.add(TITLES[name], len(outcome.labels), outcome.top(1).percent(), outcome.top(5).percent())
    write_atomic(out / "skipped.csv", skipped_csv(seen))
    write_atomic(out / "results.json", results_json(seen, {**made_by, **package}))
    table.show()
    say(f"wrote {out}")
    if seen.skipped:
        first = seen.skipped[0]
        skipped = f"{len(seen.skipped)} images were skipped, see {out / 'skipped.csv'}"
        warn(f"{skipped} ({first.key}: {first.reason})")
