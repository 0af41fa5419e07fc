"""An existing Latent-CLIP on a second VAE's latents: native, adapted, trained again. Emoji World, on one core.

    python benchmarks/adapter.py --work outputs/adapter     # an hour, half of it the VAE; resumed where it stopped

The second VAE has four channels where the shipped one has eight. Adapters are fitted to scenes that both VAEs encode,
the Latent-CLIP that is trained again sees the same scenes with captions, by the recipe of the world's ``clean``; both
are tested on rendered scenes of other seeds. Result: ``benchmarks/results/adapter.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.table import Table
from tables import show_and_keep
from torch import Tensor

from benchmarks.emoji_world.rendered_scenes import pictures_of, single_scenes
from benchmarks.emoji_world.rows.zero_shot import correct
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.runs.provenance import provenance
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.adapter import AdapterConfig
from latent_guard.latent_clip.adapter_fit import STEPS, AdapterFit, fit_adapter
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.shards import INDEX, ShardWriter
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.autoencoder import encode, reconstruction_psnr, train_autoencoder
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.captions import caption
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES
from latent_guard.worlds.emoji.pool import draw_pool
from latent_guard.worlds.emoji.recipes import write_recipe
from latent_guard.worlds.emoji.scale import MINIATURE, SHIPPED, Scale
from latent_guard.worlds.emoji.scenes import FULL
from latent_guard.worlds.emoji.stages import CAPTIONS_A_SCENE

CHANNELS = 4
VAE_SEED, SCENES_SEED, RECIPE_SEED = 8, 47, 67  # the last two are those of the shipped world
PAIRS, WIDTH = 4000, 64
MODELS = ("clean", "guard")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measured:
    """Zero-shot top-1 of one model on one VAE's latents, and what it cost to make it.

    ``samples`` are training samples seen, or pairs of latents fitted to; ``seconds`` those of one core, None where they
    are not known; ``explained`` and ``agreement`` are an adapter's on held-out pairs (``AdapterFit``).
    """

    model: str
    vae: str
    top1: float
    interval: tuple[float, float]
    images: int
    samples: int
    seconds: float | None
    explained: float | None = None
    agreement: float | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is not there yet, measure, write ``adapter.json``, print the table."""
    options = _options(arguments)
    work, scale = options.work, MINIATURE if options.miniature else SHIPPED
    work.mkdir(parents=True, exist_ok=True)
    vaes = {"first": shipped_vae(), "second": second_vae(work, scale)}
    write_shards(work / "shards", vaes, scale)
    again, seconds = trained_again(work, scale)
    scenes = single_scenes(options.renders // len(OBJECT_NAMES) * len(OBJECT_NAMES))
    pictures = torch.from_numpy(pictures_of(scenes))
    views = {name: encode(vae, pictures) for name, vae in vaes.items()}
    rows = list(measure(work / "shards", views, 2 if options.miniature else STEPS))
    seen = scale.clip_steps * scale.clip_batch
    rows.append(_row("trained again", "second", again, views["second"], seen, seconds, None))
    psnr = {name: reconstruction_psnr(vae, draw_pool(12345, 256, FULL)) for name, vae in vaes.items()}
    made_by = provenance(bundle_folder()).to_dict()
    record = {"made_by": made_by, "psnr": psnr, "rows": [asdict(row) for row in rows]}
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / "adapter.json", (json.dumps(record, indent=1) + "\n").encode())
    show_and_keep(table(rows), options.out / "adapter.csv")


def shipped_vae() -> AutoencoderKL:
    """The VAE whose latents the shipped Latent-CLIPs read."""
    return AutoencoderKL.from_pretrained(bundle_folder() / "pipeline" / "vae").float().eval()


def second_vae(work: Path, scale: Scale) -> AutoencoderKL:
    """``work/vae``, trained there first where it is not yet."""
    folder = work / "vae"
    if not (folder / "config.json").exists():
        settings, scenes = scale.autoencoder, scale.scenes
        made = train_autoencoder(work / "vae_run", settings, seed=VAE_SEED, scenes=scenes, channels=CHANNELS)
        made.save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder).float().eval()


def write_shards(folder: Path, vaes: dict[str, AutoencoderKL], scale: Scale) -> None:
    """Latents of the same scenes with the same captions, in the same order, by each VAE."""
    missing = [name for name in vaes if not (folder / name / INDEX).exists()]
    if not missing:
        return
    pool, rng = draw_pool(SCENES_SEED, scale.clip_scenes, FULL), np.random.default_rng(SCENES_SEED)
    captions = [[caption(sample.scene, rng) for _ in range(CAPTIONS_A_SCENE)] for sample in pool.samples]
    for name in missing:
        with ShardWriter(folder / name, LatentSpace.of_vae(vaes[name])) as writer:
            writer.add(encode(vaes[name], pool.pictures), captions)


def trained_again(work: Path, scale: Scale) -> tuple[LatentCLIP, float | None]:
    """A Latent-CLIP of the second VAE by the recipe of ``clean``, and its cost, unknown where it was interrupted."""
    recipe = Recipe.read(write_recipe("clean", work, scale, RECIPE_SEED))
    recipe = replace(recipe, data=[str(work / "shards" / "second")], out=str(work / "again"))
    clock, whole = work / "again" / "seconds.json", not (work / "again").exists()
    began = time.process_time()
    model = train(recipe)
    if not clock.exists():
        write_atomic(clock, json.dumps(time.process_time() - began if whole else None).encode())
    seconds: float | None = read_json(clock, "the clock")
    return model, seconds


def measure(shards: Path, views: dict[str, Tensor], steps: int) -> Iterator[Measured]:
    """The shipped Latent-CLIPs on their own VAE's latents, and on the second's through each adapter."""
    given, read = (read_shards([shards / name]) for name in ("first", "second"))
    for name in MODELS:
        model = LatentCLIP.from_pretrained(bundle_folder() / name)
        record = read_json(bundle_folder() / "training.json", "the record")
        seen = record["clip_batch"] * (record["clip_steps"] + record["clip_steps_on_estimates"] * (name == "guard"))
        yield _row(name, "first", model, views["first"], seen, None, None)
        for kind, width in (("linear", 0), ("conv", WIDTH)):
            config = AdapterConfig(read.latent_space, given.latent_space, width)
            began = time.process_time()
            fit = fit_adapter(model, config, read.latents[:PAIRS], given.latents[:PAIRS], steps=steps)
            cost = fit.fitted, time.process_time() - began, fit
            yield _row(f"{name}, {kind} adapter", "second", model.adapted(fit.adapter), views["second"], *cost)


def table(rows: Sequence[Measured]) -> Table:
    """What a reader compares."""
    shown = Table("Latent-CLIP", "latents of", "top-1", "explained", "agreement", "samples", "CPU seconds")
    for row in rows:
        low, high = (100 * end for end in row.interval)
        cost = "" if row.seconds is None else f"{row.seconds:,.1f}"
        explained = "" if row.explained is None else f"{row.explained:.1%}"
        agreement = "" if row.agreement is None else f"{row.agreement:.3f}"
        top1 = f"{row.top1:.1%} ({low:.1f} to {high:.1f})"
        shown.add_row(row.model, f"{row.vae} VAE", top1, explained, agreement, f"{row.samples:,}", cost)
    return shown


def _row(
    name: str, vae: str, model: LatentCLIP, latents: Tensor, samples: int, seconds: float | None, fit: AdapterFit | None
) -> Measured:
    labels = torch.arange(len(latents)) % len(OBJECT_NAMES)
    found = bootstrap.proportion(correct(model, latents, labels))
    quality = (fit.explained, fit.agreement) if fit is not None else (None, None)
    return Measured(name, vae, found.value, (found.low, found.high), found.count, samples, seconds, *quality)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A Latent-CLIP on a second VAE: native, adapted, trained again.")
    parser.add_argument("--work", type=Path, default=Path("outputs/adapter"), help="folder of what is made on the way")
    parser.add_argument("--renders", type=int, default=2016, help="scenes to test on (2016, 42 of each object)")
    parser.add_argument("--miniature", action="store_true", help="everything tiny: it runs, the figures mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
