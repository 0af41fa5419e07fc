"""How many samples a Latent-CLIP needs that starts from a CLIP on pixels, against one that starts from nothing.

    python benchmarks/from_pixels.py --work outputs/from_pixels      # an hour on one core; resumed where it stopped

Emoji World, the world's recipe for clean latents at several lengths, each with its own cosine. The start is the shipped
pixel CLIP: towers and position embeddings are its own, the patch embedding is drawn; a quarter of the steps trains the
patch embedding alone (`patch_steps`), or none of them does. Zero-shot on single-object test scenes. Result:
``benchmarks/results/from_pixels.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from rich.table import Table
from tables import show_and_keep

from benchmarks.emoji_world.rendered_scenes import pictures_of, single_scenes
from benchmarks.emoji_world.rows.zero_shot import correct
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.build import adopt
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.recipes import TOWERS
from latent_guard.worlds.emoji.scale import MINIATURE, SHIPPED
from latent_guard.worlds.emoji.stages import Stages

STEPS = (50, 100, 200, 400)
STARTS = {"scratch": None, "pixels, two stages": 0.25, "pixels, all at once": 0.0}  # share of patch_steps
TEST_SCENES = 41 * len(OBJECT_NAMES)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every start at every length, measure, write ``from_pixels.json``, print a table."""
    options = _options(arguments)
    bundle = bundle_folder()
    scale = MINIATURE if options.miniature else SHIPPED
    stages, batch = Stages(options.work, 0, scale), scale.clip_batch
    adopt(bundle, stages)
    stages.write_clean_shards()
    lengths = (2, 4) if options.miniature else STEPS
    scenes = len(OBJECT_NAMES) if options.miniature else TEST_SCENES
    shown = encode(
        AutoencoderKL.from_pretrained(bundle / "pipeline" / "vae"), torch.from_numpy(pictures_of(single_scenes(scenes)))
    )
    found = {
        start: {steps * batch: accuracy(train(recipe(options.work, start, steps, batch)), shown) for steps in lengths}
        for start in STARTS
    }
    shipped = accuracy(LatentCLIP.from_pretrained(bundle / "clean"), shown)
    record = {
        "made_by": provenance(bundle).to_dict(),
        "shipped_clean": {SHIPPED.clip_steps * SHIPPED.clip_batch: shipped},
        "top1": found,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "from_pixels.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(table(found, shipped), options.out / "from_pixels.csv")


def recipe(work: Path, start: str, steps: int, batch: int) -> Recipe:
    """The world's recipe for clean latents, at another length."""
    share = STARTS[start]
    return Recipe(
        data=[str(work / "shards" / "latents")],
        out=str(work / "runs" / f"{start.replace(', ', '-').replace(' ', '-')}-{steps}"),
        model=TOWERS,
        steps=steps,
        batch_size=batch,
        learning_rate=1e-3,
        muon_rate=1e-2,
        warmup=min(40, steps // 5),
        weight_decay=0.05,
        seed=67,
        init_from=None if share is None else str(bundle_folder() / "pixel_twin"),
        patch_steps=int(steps * (share or 0)),
    )


def accuracy(model: LatentCLIP, shown: torch.Tensor) -> list[float]:
    """Top-1 on the test pictures with its 95% interval, in per cent."""
    share = bootstrap.proportion(correct(model, shown, torch.arange(len(shown)) % len(OBJECT_NAMES)))
    return [round(100 * value, 2) for value in (share.value, share.low, share.high)]


def table(found: dict[str, dict[int, list[float]]], shipped: list[float]) -> Table:
    """A row a length."""
    samples = SHIPPED.clip_steps * SHIPPED.clip_batch
    title = f"zero-shot top-1, %; the shipped model, {samples:,} samples from nothing: {shipped[0]:.1f}"
    shown = Table("samples", *found, title=title)
    for samples in next(iter(found.values())):
        cells = ("{:.1f} ({:.1f} to {:.1f})".format(*found[start][samples]) for start in found)
        shown.add_row(f"{samples:,}", *cells)
    return shown


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples that a start from a CLIP on pixels saves.")
    work = Path("outputs/from_pixels")
    parser.add_argument("--work", type=Path, default=work, help="folder of what is made on the way")
    parser.add_argument("--miniature", action="store_true", help="everything tiny: it runs, the figures mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
