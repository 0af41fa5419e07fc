"""``latent-guard concepts``: concept banks, from prompts and images to calibrated thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.cli import concepts_calibrate
from latent_guard.cli.calibration_sources import category_and_folder
from latent_guard.cli.commands import Commands
from latent_guard.cli.places import OutFolder
from latent_guard.errors import InputError
from latent_guard.terminal import Table, say

if TYPE_CHECKING:
    from torch import Tensor

    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.latent_clip.model import LatentCLIP

app = Commands(help="Build, inspect, calibrate and test concept banks.")
app.command()(concepts_calibrate.calibrate)
app.command("test")(concepts_calibrate.measure)

_Bank = Annotated[Path, typer.Argument(help="Concept bank folder.")]
_Images = Annotated[
    list[str] | None, typer.Option(help="CATEGORY=FOLDER: images that show a concept, which is named after the folder.")
]


@app.command()
def build(
    sources: Annotated[
        list[str], typer.Argument(help="Prompt sets: YAML, CSV, a folder, a data set's id, or a shipped name (i2p).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bank.", parser=OutFolder("--out"))],
    model: Annotated[str | None, typer.Option(help="Pipeline that it will guard; by default the shipped one.")] = None,
    guard: Annotated[str | None, typer.Option(help="Guard; by default beside the model, or fitted to it.")] = None,
    images: _Images = None,
    ordinary_images: Annotated[
        Path | None, typer.Option(help="Folder of everyday images; needed with --images.")
    ] = None,
) -> None:
    """Embed prompt sets, and images, with a Latent-CLIP."""
    from latent_guard.concepts.bank import ConceptBank
    from latent_guard.concepts.exemplars import with_exemplars
    from latent_guard.concepts.sources import prompt_sets_of
    from latent_guard.concepts.texts import Concept
    from latent_guard.loading import load_latent_clip

    shown = [category_and_folder(entry, "--images") for entry in images or ()]
    if shown and ordinary_images is None:
        raise InputError("--images needs --ordinary-images: everyday pictures to compare them with")
    prompt_sets = [prompt_set for source in sources for prompt_set in prompt_sets_of(source)]
    latent_clip = load_latent_clip(model, guard)
    bank = ConceptBank.build(latent_clip, prompt_sets)
    if shown and ordinary_images is not None:
        folders = [ordinary_images, *(folder for _, folder in shown)]
        ordinary, *features = _features(latent_clip, model, guard, folders)
        for (category, folder), rows in zip(shown, features, strict=True):
            bank = with_exemplars(bank, Concept(f"pictures of {folder.name}", category), rows, ordinary)
    bank.save(out)
    say(f"wrote {out}: {len(bank.concepts)} concepts in {len(bank.categories)} categories")
    say("its thresholds are even odds; set them with `latent-guard concepts calibrate`")


@app.command()
def show(bank: _Bank) -> None:
    """Print what a bank holds and what its thresholds rest on."""
    from latent_guard.concepts.bank import ConceptBank

    loaded = ConceptBank.load(bank)
    table = Table("category", "concepts", "threshold on finished latents", "for example")
    for category, threshold in zip(loaded.categories, loaded.thresholds[:, 0].tolist(), strict=True):
        prompts = [concept.prompt for concept in loaded.concepts if concept.category == category]
        table.add(category, str(len(prompts)), f"{threshold:.2f}", ", ".join(prompts[:3]))
    table.show()
    say(f"made by Latent-CLIP {loaded.fingerprint}; {len(loaded.benign_prompts)} benign prompts")
    for source in loaded.sources:
        count = len(source.templates)
        say(f"from {source.name} version {source.version} ({source.licence}), {count} templates")
    say(f"scoring: {loaded.scoring}, {loaded.logit_scale:.1f} times a cosine")
    report = loaded.calibration
    for line in concepts_calibrate.lines_about(report) if report else ["no calibration report"]:
        say(line)


@app.command()
def diff(before: _Bank, after: _Bank) -> None:
    """Print what differs between two banks; nothing for equal ones."""
    from latent_guard.concepts.bank import ConceptBank

    for line in _changes(ConceptBank.load(before), ConceptBank.load(after)):
        say(line)


def _changes(before: ConceptBank, after: ConceptBank) -> Iterable[str]:
    if before.fingerprint != after.fingerprint:
        yield f"model: {before.fingerprint} -> {after.fingerprint}"
    if (before.scoring, before.logit_scale) != (after.scoring, after.logit_scale):
        yield f"scoring: {before.scoring} at {before.logit_scale:.1f} -> {after.scoring} at {after.logit_scale:.1f}"
    concepts = ([f"{c.category}: {c.prompt}" for c in bank.concepts] for bank in (before, after))
    yield from _gone_and_new(*concepts)
    yield from _gone_and_new(*([f"benign: {prompt}" for prompt in bank.benign_prompts] for bank in (before, after)))
    yield from _gone_and_new(*(_templates(bank) for bank in (before, after)))
    clean = [dict(zip(bank.categories, bank.thresholds[:, 0].tolist(), strict=True)) for bank in (before, after)]
    for category in clean[0].keys() & clean[1].keys():
        if clean[0][category] != clean[1][category]:
            yield f"threshold of {category} on finished latents: {clean[0][category]:.2f} -> {clean[1][category]:.2f}"


def _templates(bank: ConceptBank) -> list[str]:
    return [f"templates of {source.name}: {', '.join(source.templates)}" for source in bank.sources]


def _gone_and_new(before: Sequence[str], after: Sequence[str]) -> Iterable[str]:
    first, second = set(before), set(after)
    yield from (f"- {line}" for line in before if line not in second)
    yield from (f"+ {line}" for line in after if line not in first)


def _features(model: LatentCLIP, pipeline: str | None, guard: str | None, folders: Sequence[Path]) -> list[Tensor]:
    """Image features (n, D) of the images of each folder; refuses a VAE that is not the guard's."""
    from latent_guard.guidance.image_files import features_of_pictures
    from latent_guard.loading import guard_folder, load_vae
    from latent_guard.pipelines.canary import Canary

    vae = load_vae(pipeline)
    Canary.load(guard_folder(pipeline, guard)).check(vae, vae.device)
    return [features_of_pictures(model, vae, folder) for folder in folders]
