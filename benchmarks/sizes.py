"""Latents of other sizes: position embeddings resized without retraining, and training with mixed sizes.

    python benchmarks/sizes.py --work outputs/sizes     # an hour on one core; resumed where it stopped

Emoji World's scenes as pictures of four sizes, through the shipped VAE. Three Latent-CLIPs with the same recipe, the
world's own for clean latents: the shipped one, which knows the native size alone; one whose batches are of one of the
four sizes each, of as many scenes and steps; and one of a quarter more steps. Zero-shot on single-object test scenes at
every size. Result: ``benchmarks/results/sizes.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.table import Table
from tables import show_and_keep

from benchmarks.emoji_world.rendered_scenes import single_scenes
from benchmarks.emoji_world.rows.zero_shot import correct
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.shards import INDEX, ShardWriter
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.recipes import TOWERS
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scale import SHIPPED
from latent_guard.worlds.emoji.scenes import Scene, framed, render

FIXED = "fixed size, positions resized"
SIZES = {"native": (64, 64), "1.5x": (96, 96), "3:2": (96, 64), "2:3": (64, 96)}  # width, height
SEED, TEST_SEED, CAPTIONS = 147, 20_262_030, 4
TEST_SCENES = 41 * len(OBJECT_NAMES)
RESULTS = Path(__file__).parent / "results"
WORST, WORST_NATIVE = 2.0, 1.0  # points of accuracy that may be lost


@dataclass(frozen=True)
class Length:
    """Of a training: scenes of the native size, scenes of each other size, steps."""

    native: int
    other: int
    steps: int


MIXED = {
    "mixed sizes": Length(13_500, 5_500, SHIPPED.clip_steps),  # 30,000 scenes, as the shipped one saw
    "mixed sizes, longer": Length(15_000, 6_000, 1000),
}
MINIATURE = Length(64, 64, 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode, train, measure, write ``sizes.json``, print a table."""
    options = _options(arguments)
    vae = AutoencoderKL.from_pretrained(bundle_folder() / "pipeline" / "vae")
    models = {FIXED: LatentCLIP.from_pretrained(bundle_folder() / "clean")}
    for which, length in MIXED.items():
        work = options.work / which.replace(", ", "-").replace(" ", "-")
        models[which] = trained(work, vae, MINIATURE if options.miniature else length)
    scenes = len(OBJECT_NAMES) if options.miniature else TEST_SCENES
    found = {name: accuracies(models, vae, name, scenes) for name in SIZES}
    lengths = {which: asdict(length) for which, length in MIXED.items()}
    record = {"made_by": provenance(bundle_folder()).to_dict(), "lengths": lengths, "top1": found}
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "sizes.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(table(found), options.out / "sizes.csv")


def trained(work: Path, vae: AutoencoderKL, length: Length) -> LatentCLIP:
    """A Latent-CLIP by the world's recipe for clean latents, on shards of every size."""
    for name in SIZES:
        write_shards(work / "shards" / name, vae, name, length.native if name == "native" else length.other)
    recipe = Recipe(
        data=[str(work / "shards" / name) for name in SIZES],
        out=str(work / "mixed"),
        model={**TOWERS, "vision": {**TOWERS["vision"], "size": 8}},
        steps=length.steps,
        batch_size=128,
        learning_rate=1e-3,
        muon_rate=1e-2,
        warmup=40,
        weight_decay=0.05,
        seed=67,
    )
    return train(recipe)


def write_shards(folder: Path, vae: AutoencoderKL, name: str, count: int) -> None:
    """Latents of training scenes at one size, no two sizes of the same scenes."""
    if (folder / INDEX).exists():
        return
    stream = training_samples(1000 * SEED + list(SIZES).index(name))
    scenes = [sample.scene for sample in islice(stream, count)]
    rng = np.random.default_rng([SEED, *SIZES[name]])
    with ShardWriter(folder, LatentSpace.of_vae(vae)) as writer:
        for start in range(0, count, 1000):
            part = scenes[start : start + 1000]
            latents = encode(vae, pictures(part, name, rng))
            writer.add(latents, [[caption(scene, rng) for _ in range(CAPTIONS)] for scene in part])


def pictures(scenes: Sequence[Scene], name: str, rng: np.random.Generator) -> torch.Tensor:
    """(N, 3, H, W) uint8."""
    drawn = [render(framed(scene, *SIZES[name], rng), *SIZES[name]) for scene in scenes]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def accuracies(models: dict[str, LatentCLIP], vae: AutoencoderKL, name: str, count: int) -> dict[str, list[float]]:
    """Top-1 of each model on the same test pictures, with its 95% interval, in per cent."""
    shown = encode(vae, pictures(single_scenes(count), name, np.random.default_rng(TEST_SEED)))
    labels = torch.arange(count) % len(OBJECT_NAMES)
    found = {}
    for which, model in models.items():
        share = bootstrap.proportion(correct(model, shown, labels))
        found[which] = [round(100 * value, 2) for value in (share.value, share.low, share.high)]
    return found


def table(found: dict[str, dict[str, list[float]]]) -> Table:
    """What was found, and whether it is near enough to the fixed-size model at its own size."""
    native = found["native"][FIXED][0]
    shown = Table("size", FIXED, *MIXED, title="zero-shot top-1, %; points lost against the fixed size at its own")
    for name, (width, height) in SIZES.items():
        allowed = WORST_NATIVE if name == "native" else WORST
        cells = ["{:.1f} ({:.1f} to {:.1f})".format(*found[name][which]) for which in (FIXED, *MIXED)]
        for place, which in enumerate(MIXED, 1):
            lost = native - found[name][which][0]
            cells[place] += f"; {lost:+.1f}, {'reached' if lost <= allowed else 'not reached'} (<= {allowed:g})"
        shown.add_row(f"{name} ({width}x{height})", *cells)
    return shown


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Zero-shot accuracy on latents of other sizes.")
    parser.add_argument("--work", type=Path, default=Path("outputs/sizes"), help="folder of what is made on the way")
    parser.add_argument("--miniature", action="store_true", help="everything tiny: it runs, the figures mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
