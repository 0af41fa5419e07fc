"""Latents of other sizes: position embeddings resized without retraining, and training with mixed sizes.

    python benchmarks/sizes.py --work outputs/sizes     # half an hour on one core; it goes on where it stopped

Emoji World's scenes as pictures of four sizes, through the shipped VAE. Two Latent-CLIPs with the same recipe, the
world's own for clean latents: the shipped one, which knows the native size alone, and one whose batches are of one of
the four sizes each; as many scenes and steps. Zero-shot on single-object test scenes at every size.
Result: ``benchmarks/results/sizes.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.table import Table
from tables import show_and_keep

from latent_guard.bench import metrics
from latent_guard.bench.provenance import provenance
from latent_guard.bench.renders import single_scenes
from latent_guard.bench.zero_shot_rows import hits
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.training.shards import INDEX, ShardWriter
from latent_guard.whole_files import write_whole
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.recipes import TOWERS
from latent_guard.worlds.emoji.sampling import training_samples
from latent_guard.worlds.emoji.scale import SHIPPED
from latent_guard.worlds.emoji.scenes import Scene, framed, render

SIZES = {"native": (64, 64), "1.5x": (96, 96), "3:2": (96, 64), "2:3": (64, 96)}  # width, height
SAMPLES = {"native": 13_500, "1.5x": 5_500, "3:2": 5_500, "2:3": 5_500}  # as many together as the shipped one saw
SEED, TEST_SEED, CAPTIONS = 147, 20_262_030, 4
STEPS = SHIPPED.clip_steps
TEST_SCENES = 41 * len(OBJECT_NAMES)
RESULTS = Path(__file__).parent / "results"
WORST, WORST_NATIVE = 2.0, 1.0  # points of accuracy that may be lost


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode, train, measure, write ``sizes.json``, print a table."""
    options = _options(arguments)
    vae = AutoencoderKL.from_pretrained(bundle_folder() / "pipeline" / "vae")
    for name in SIZES:
        write_shards(options.work / "shards" / name, vae, name, 64 if options.miniature else SAMPLES[name])
    mixed = train(recipe(options.work, 4 if options.miniature else STEPS))
    models = {"fixed": LatentCLIP.from_pretrained(bundle_folder() / "clean"), "mixed": mixed}
    scenes = len(OBJECT_NAMES) if options.miniature else TEST_SCENES
    found = {name: accuracies(models, vae, name, scenes) for name in SIZES}
    record = {"made_by": provenance(bundle_folder()).to_dict(), "samples": SAMPLES, "steps": STEPS, "top1": found}
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "sizes.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(table(found), options.out / "sizes.csv")


def recipe(work: Path, steps: int) -> Recipe:
    """That of the world's Latent-CLIP for clean latents, on shards of every size."""
    return Recipe(
        data=[str(work / "shards" / name) for name in SIZES],
        out=str(work / "mixed"),
        model={**TOWERS, "vision": {**TOWERS["vision"], "size": 8}},
        steps=steps,
        batch_size=128,
        learning_rate=1e-3,
        muon_rate=1e-2,
        warmup=40,
        weight_decay=0.05,
        seed=67,
    )


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
        share = metrics.proportion(hits(model, shown, labels))
        found[which] = [round(100 * value, 2) for value in (share.value, share.low, share.high)]
    return found


def table(found: dict[str, dict[str, list[float]]]) -> Table:
    """What was found, and whether it is near enough to the fixed-size model at its own size."""
    native = found["native"]["fixed"][0]
    shown = Table("size", "fixed, positions resized", "mixed sizes", "lost", "verdict", title="zero-shot top-1, %")
    for name, (width, height) in SIZES.items():
        lost, allowed = native - found[name]["mixed"][0], WORST_NATIVE if name == "native" else WORST
        verdict = f"{'reached' if lost <= allowed else 'not reached'} (<= {allowed:g})"
        texts = ["{:.1f} ({:.1f} to {:.1f})".format(*found[name][which]) for which in ("fixed", "mixed")]
        shown.add_row(f"{name} ({width}x{height})", *texts, f"{lost:+.1f}", verdict)
    return shown


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Zero-shot accuracy on latents of other sizes.")
    parser.add_argument("--work", type=Path, default=Path("outputs/sizes"), help="folder of what is made on the way")
    parser.add_argument("--miniature", action="store_true", help="everything tiny: it runs, the figures mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
