"""Rows about what Latent-CLIP sees without decoding, against its CLIP on pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.emoji_world.rendered_scenes import pair_scenes, pictures_of, single_scenes
from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.vae import to_model_range
from latent_guard.worlds.emoji.autoencoder import encode
from latent_guard.worlds.emoji.captions import ONE, explicit
from latent_guard.worlds.emoji.catalogue import BY_NAME, OBJECT_NAMES
from latent_guard.zero_shot.classify import class_embeddings

BATCH = 128
GALLERY = 100
TEMPLATES = [wording.replace("{a}", "{}") for wording in ONE]


def zero_shot_on_renders(bench: Workbench) -> list[Row]:
    """Single-object rendered scenes, all objects as classes."""
    count = bench.settings.renders // len(OBJECT_NAMES) * len(OBJECT_NAMES)
    pictures = pictures_of(single_scenes(count))
    labels = torch.arange(count) % len(OBJECT_NAMES)
    latent = correct(bench.guard.model, as_latents(bench, pictures), labels)
    pixel = correct(bench.pixel_clip, as_pixels(pictures), labels)
    both, gap = _both(latent, pixel)
    reached = min(latent.mean(), pixel.mean()) >= 0.95 and gap <= 0.01
    what = "zero-shot, single-object rendered scenes, all objects as classes: Latent-CLIP and pixel CLIP"
    return [Row(what, "both >= 95%, gap <= 1 point", both, count, bool(reached))]


def retrieval_on_renders(bench: Workbench) -> list[Row]:
    """Two-object captions: does an image find its own among the captions of 100 scenes?"""
    galleries = max(1, bench.settings.renders // 4 // GALLERY)
    scenes = pair_scenes(galleries * GALLERY)
    pictures = pictures_of(scenes)
    texts = [f"{explicit(scene.names, '{a} next to {b}')} on a {scene.background} background" for scene in scenes]
    latent = _recalled(bench.guard.model, as_latents(bench, pictures), texts)
    pixel = _recalled(bench.pixel_clip, as_pixels(pictures), texts)
    both, gap = _both(latent, pixel)
    what = "two-object caption retrieval R@1 among 100: Latent-CLIP and pixel CLIP"
    return [Row(what, "gap <= 2 points", both, len(scenes), bool(gap <= 0.02))]


def zero_shot_on_generated(bench: Workbench) -> list[Row]:
    """Generated one-object images as they left the denoiser: the latent undecoded against the decoded pixels.

    An image counts where the judge sees the prompted object and no other, since only there the label is known.
    """
    method = bench.method("explicit_one")
    sure = method.satisfied & (method.present.sum(axis=1) == 1)
    labels = torch.from_numpy(method.present[sure].argmax(axis=1))
    what, target = "zero-shot on generated latents, undecoded for Latent-CLIP", "gap <= 2 points"
    if not sure.any():
        return [Row(what, target, "none", 0, False, "the judge is sure of no generated image")]
    latent = correct(bench.guard.model, torch.from_numpy(method.records.latents[sure]), labels)
    pixel = correct(bench.pixel_clip, as_pixels(method.records.images[sure]), labels)
    both, gap = _both(latent, pixel)
    note = f"the {sure.mean():.0%} of images in which the judge sees exactly the prompted object"
    return [Row(what, target, both, len(labels), bool(gap <= 0.02), note)]


def as_latents(bench: Workbench, pictures: Pictures) -> Tensor:
    """Raw latents of uint8 pictures, the posterior's means."""
    return encode(bench.pipe.vae, torch.from_numpy(pictures))


def as_pixels(pictures: Pictures) -> Tensor:
    """uint8 pictures as the CLIP reads them."""
    return to_model_range(torch.from_numpy(pictures))


@torch.no_grad()
def features_of(model: LatentCLIP, inputs: Tensor) -> Tensor:
    """(N, D) unit image embeddings, on the CPU."""
    device = model.logit_scale.device
    return torch.cat([model.encode_latents(batch.to(device), normalize=True).cpu() for batch in inputs.split(BATCH)])


def correct(model: LatentCLIP, inputs: Tensor, labels: Tensor) -> Bools:
    """(N,): the most similar class is the label."""
    classes = class_embeddings(model, [BY_NAME[name].phrase for name in OBJECT_NAMES], TEMPLATES).cpu()
    right: Bools = ((features_of(model, inputs) @ classes.T).argmax(dim=1) == labels).numpy()
    return right


@torch.no_grad()
def _recalled(model: LatentCLIP, inputs: Tensor, texts: list[str]) -> Bools:
    """(N,): an image's most similar caption within its gallery of 100 is its own."""
    images = features_of(model, inputs).split(GALLERY)
    captions = model.encode_text(texts, normalize=True).cpu().split(GALLERY)
    found = [(i @ t.T).argmax(dim=1) == torch.arange(len(i)) for i, t in zip(images, captions, strict=True)]
    return torch.cat(found).numpy()


def _both(latent: Bools, pixel: Bools) -> tuple[str, float]:
    """Both shares as the table shows them, and the gap between them."""
    first, second = bootstrap.proportion(latent), bootstrap.proportion(pixel)
    difference = bootstrap.grouped_difference(pixel, latent, np.arange(len(pixel)))
    points = f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    text = f"Latent-CLIP {first.percent()} pixel CLIP {second.percent()}, pixel CLIP minus Latent-CLIP {points} points"
    return text, abs(difference.value)
