"""Photographs: a Latent-CLIP on FLUX.2's latents beside a CLIP on pixels of the same size and training.

    python -m benchmarks.photographs encode --photographs FOLDER --encoder taef2_encoder.safetensors   # then
    python -m benchmarks.photographs search ...      # the twin's best rate, augmentation and patch; an hour on a core
    python -m benchmarks.photographs train ...       # in all some 10 hours on a core; --runs 2 for a first look
    python -m benchmarks.photographs sana ...         # Sana's latents: an adapter, a model of their own, a bridge
    python -m benchmarks.photographs cost ...         # a look against decode and look, on an idle machine
    python -m benchmarks.photographs moderate ...     # photographs moderated by words; twenty minutes on a core
    python -m benchmarks.photographs report ...       # both tables, of whatever is there
    python -m benchmarks.photographs ship ...         # the guard, with its bank and card, into OUT/guard

FOLDER holds the training photographs as train-*.parquet and those of validation as val-*.parquet, with the columns
image, label and synonyms; Tiny ImageNet is ``zh-plus/tiny-imagenet`` on the hub, and TAEF2's encoder is a file of
madebyollin's taesd. Everything that is made of them lies under --work; the same command goes on where it was stopped.

Every model sees pairs of a photograph and a caption ("a photo of a {}." half of the time, else one of ImageNet's
templates, over the class name and its WordNet synonyms), the same number of them, in the same order. All have the same
text tower, width and layers; those on latents read one position a token, the twin as many pixels as suit it best.
Accuracies are zero-shot on the validation photographs, undecoded. Results: ``benchmarks/results/photographs.*``.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.photographs.classify import classify, ranks_of
from benchmarks.photographs.control import train_control
from benchmarks.photographs.cost import measure_costs
from benchmarks.photographs.moderation.stage import moderate
from benchmarks.photographs.other_space import read_sana
from benchmarks.photographs.report import report
from benchmarks.photographs.runs import chosen_settings, planned, train
from benchmarks.photographs.search import search
from benchmarks.photographs.shards import encode_test, encode_views
from benchmarks.photographs.ship import ship
from benchmarks.photographs.sizes import FULL, MINIATURE
from benchmarks.photographs.workplace import CONTROL, LATENTS, PIXELS, VALIDATION, Workplace

RESULTS = Path(__file__).parents[1] / "results"
GUARD = "guard"  # folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _options(arguments)
    sizes = MINIATURE if options.miniature else FULL
    place = Workplace(options.photographs, options.encoder, options.work, sizes)
    STAGES[options.stage](place, options)


def encode_all(place: Workplace) -> None:
    """Encode the validation photographs and the views of those of training, for both kinds of models."""
    for reads in (LATENTS, PIXELS):
        encode_test(place, reads, VALIDATION)
        encode_views(place, reads, range(chosen_settings(place).views))


def train_all(place: Workplace, out: Path, most: int | None) -> None:
    """Train and classify what is planned and not done, at most so many models; report after each."""
    open_runs = [run for run in planned(place.sizes, chosen_settings(place)) if ranks_of(run, place) is None]
    for run in open_runs[:most]:
        if run.reads == CONTROL:
            train_control(place)
        train(run, place)
        classify(run, place)
        report(place, out)


STAGES: dict[str, Callable[[Workplace, argparse.Namespace], object]] = {
    "encode": lambda place, options: encode_all(place),
    "search": lambda place, options: search(place),
    "train": lambda place, options: train_all(place, options.out, options.runs),
    "sana": lambda place, options: read_sana(place),
    "cost": lambda place, options: measure_costs(place),
    "moderate": lambda place, options: moderate(place, options.out),
    "report": lambda place, options: report(place, options.out),
    "ship": lambda place, options: ship(place, options.out / GUARD),
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photographs", description="Latent-CLIP beside a CLIP on pixels, on photographs."
    )
    parser.add_argument("stage", choices=list(STAGES))
    data = os.environ.get("PHOTOGRAPHS", "")
    parser.add_argument("--photographs", type=Path, default=Path(data or "."), help="folder of parquet ($PHOTOGRAPHS)")
    encoder = os.environ.get("TAEF2_ENCODER", "taef2_encoder.safetensors")
    parser.add_argument("--encoder", type=Path, default=Path(encoder), help="TAEF2's encoder ($TAEF2_ENCODER)")
    work = Path("outputs/photographs")
    parser.add_argument("--work", type=Path, default=work, help=f"folder of what is made on the way ({work})")
    parser.add_argument("--runs", type=int, help="train at most so many models (all)")
    parser.add_argument("--miniature", action="store_true", help="everything tiny: it runs, the figures mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write into")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
