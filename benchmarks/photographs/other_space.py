"""Sana's latents: read through an adapter, by a model that was trained on them, and over a bridge of decoded pictures.

Sana's encoder makes one position of 32 x 32 pixels, so that a photograph of 64 pixels is 2 x 2 positions for a model
that was trained on 8 x 8. The bridge goes the other way, as only its encoder is at hand: FLUX.2's latents are decoded
by the tiny autoencoder, and encoded again for the model that was trained on Sana's.
"""

from __future__ import annotations

from collections.abc import Iterator

import datasets
import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from benchmarks.photographs.classify import Ranks, classify, classify_shards, ranks_named, ranks_of
from benchmarks.photographs.runs import Run, of_longest, train
from benchmarks.photographs.shards import encode, encode_test
from benchmarks.photographs.workplace import LATENTS, SANA, VALIDATION, Workplace, latent_guard
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.files.atomic import atomic_file
from latent_guard.files.png import png_of_array
from latent_guard.latent_clip.model_files import CONFIG
from latent_guard.loading import load_vae
from latent_guard.pipelines.vae import decode, to_pictures
from latent_guard.training.data.in_memory import read_shards

BRIDGE = "bridge"
BATCH = 64
LEAST = 0.9
NOT_YET = "the stage `sana` was not run yet"


def read_sana(place: Workplace) -> None:
    """Fit the adapter, train the other model, and classify with both and over the bridge; what is done is kept."""
    native, retrained = of_longest(LATENTS, place), of_longest(SANA, place)
    folder = place.work / "adapted" / native.name
    classify(native, place)
    encode_test(place, SANA, VALIDATION)
    if not (folder / CONFIG).exists():
        vaes = ("--vae", place.vae(SANA), "--from-vae", place.vae(LATENTS))
        latent_guard("adapt", native.folder(place), place.view(0, 0), folder, *vaes)
    classify_shards(folder, place.shards(SANA, VALIDATION), _adapted(native), place)
    train(retrained, place)
    classify(retrained, place)
    _build_bridge(place)
    classify_shards(retrained.folder(place), place.shards(SANA, BRIDGE), _bridged(retrained), place)


def rows_of_sana(place: Workplace) -> list[Row]:
    """The accuracies on Sana's latents, each beside the model's own."""
    native, retrained = of_longest(LATENTS, place), of_longest(SANA, place)
    own, theirs = ranks_of(native, place), ranks_of(retrained, place)
    adapted, bridged = ranks_named(_adapted(native), place), ranks_named(_bridged(retrained), place)
    return [
        _share("Sana's latents through the adapter: top-1, of that on FLUX.2's", adapted, own, LEAST),
        _share("Sana's latents, a model trained on them: top-1, of FLUX.2's model on FLUX.2's", theirs, own, None),
        _share("Sana's latents through the adapter: top-1, of a model trained on them", adapted, theirs, None),
        _share("FLUX.2's latents, decoded and encoded for Sana's model: top-1, of its own", bridged, theirs, None),
    ]


def _share(what: str, measured: Ranks | None, beside: Ranks | None, least: float | None) -> Row:
    target = "reported" if least is None else f">= {least:.0%}"
    if measured is None or beside is None:
        return not_measured(what, target, NOT_YET)
    hits, others = measured.hits(1), beside.hits(1)
    share = bootstrap.grouped_ratio(hits, others, np.arange(hits.size))
    note = f"{hits.mean():.1%} and {others.mean():.1%}"
    return Row(what, target, share.percent(), share.count, least is None or share.value >= least, note)


def _build_bridge(place: Workplace) -> None:
    """The validation photographs as FLUX.2's latents decode, encoded for Sana's model."""
    path = place.work / "views" / f"{BRIDGE}.parquet"
    if not path.exists():
        features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
        with atomic_file(path) as partial, parquet.ParquetWriter(partial, features.arrow_schema) as writer:
            for images, names in _decoded(place):
                rows = {
                    "image": [{"bytes": png_of_array(image.cpu().numpy()), "path": None} for image in images],
                    "caption": names,
                }
                writer.write_table(pa.Table.from_pydict(rows, schema=features.arrow_schema))
    encode(place, SANA, path, BRIDGE, "--caption-column", "caption")


@torch.inference_mode()
def _decoded(place: Workplace) -> Iterator[tuple[Tensor, list[str]]]:
    """Pictures (B, 3, 64, 64) uint8 of the validation shards, with the names of their classes."""
    data = read_shards([place.shards(LATENTS, VALIDATION)])
    vae = load_vae(place.vae(LATENTS))
    for start in range(0, len(data.captions), BATCH):
        latents = data.latents[start : start + BATCH].float().to(vae.device)
        yield to_pictures(decode(vae, latents)), [texts[0] for texts in data.captions[start : start + BATCH]]


def _adapted(native: Run) -> str:
    return f"adapted-{native.name}"


def _bridged(retrained: Run) -> str:
    return f"{BRIDGE}-{retrained.name}"
