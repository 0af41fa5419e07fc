"""Trainings: what each model reads, how long it trains, and the settings that are the twin's best."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.photographs.shards import encode_views, training_shards
from benchmarks.photographs.sizes import TOKEN, Sizes
from benchmarks.photographs.workplace import CONTROL, LATENTS, PIXELS, Workplace, latent_guard
from latent_guard.devices import best_device, has_fast_bfloat16
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json

CONTEXT, HEAD_WIDTH = 32, 32
WEIGHT_DECAY = 0.05
CHOSEN = "settings.json"


@dataclass(frozen=True)
class Settings:
    """What is chosen for the pixel twin, and then holds for every model.

    Attributes:
        rate: Muon's peak rate; AdamW's is a tenth of it.
        views: of each photograph.
        patch: pixels along one side of a token of the twin; a Latent-CLIP's token is one position.
    """

    rate: float = 1e-2
    views: int = 2
    patch: int = TOKEN


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        reads: ``taef2``, ``pixels`` or ``control``.
        samples: seen in all steps together.
        start: the run whose model it starts from; None for random weights.
        held_out: whether the last part of the training photographs is left out, as in the search.
    """

    reads: str
    samples: int
    seed: int
    settings: Settings
    start: Run | None = None
    held_out: bool = False

    @property
    def name(self) -> str:
        """Everything that makes the model, as a folder's name."""
        own = self.settings
        words = [self.reads, str(self.samples), f"rate{own.rate:g}", f"views{own.views}"]
        words += [f"patch{own.patch}"] if self.reads == PIXELS else []
        words += ["held-out"] if self.held_out else []
        words += [f"from-{self.start.reads}-{self.start.samples}"] if self.start else []
        return "-".join([*words, f"seed{self.seed}"])

    def folder(self, place: Workplace) -> Path:
        """Where the model is."""
        return place.work / "runs" / self.name


def recipe(run: Run, place: Workplace) -> dict[str, Any]:
    """The recipe of a run for ``latent-guard train``."""
    sizes, own = place.sizes, run.settings
    steps = run.samples // sizes.batch
    tower = {"width": sizes.width, "heads": max(1, sizes.width // HEAD_WIDTH)}
    patch = own.patch if run.reads == PIXELS else 1
    start = {"init_from": str(run.start.folder(place))} if run.start else {}
    return {
        "data": training_shards(place, run.reads, own.views, held_out=run.held_out),
        "out": str(run.folder(place)),
        "model": {
            "embed_dim": sizes.width,
            "vision": {"patch_size": patch, "layers": sizes.layers, **tower},
            "text": {"context_length": CONTEXT, "layers": sizes.text_layers, **tower},
        },
        "steps": steps,
        "batch_size": sizes.batch,
        "learning_rate": own.rate / 10,
        "muon_rate": own.rate,
        "warmup": min(100, steps // 10),
        "weight_decay": WEIGHT_DECAY,
        "precision": "bf16" if has_fast_bfloat16(best_device()) else "fp32",
        "seed": run.seed,
        "save_every": 250,
        **start,
    }


def train(run: Run, place: Workplace) -> None:
    """Encode what the run needs, and train its model, or go on where it was stopped."""
    encode_views(place, run.reads, range(run.settings.views))
    path = place.work / "recipes" / f"{run.name}.yaml"
    write_atomic(path, yaml.safe_dump(recipe(run, place), sort_keys=False).encode())
    latent_guard("train", path)


def planned(sizes: Sizes, settings: Settings) -> list[Run]:
    """Every run, in an order in which what is done by any time is a comparison that can be reported.

    All models are compared at the same number of tokens; a twin that prefers finer patches is then trained with these
    too, the smallest budget first, since each of its steps takes several times as long.
    """
    smallest, middle, longest = sizes.budgets
    seeds = range(sizes.seeds)
    budgets = [*((smallest, seed) for seed in seeds), *((middle, seed) for seed in seeds), (longest, 0)]
    same_tokens = replace(settings, patch=TOKEN)
    compared = [Run(reads, samples, seed, same_tokens) for samples, seed in budgets for reads in (LATENTS, PIXELS)]
    control = [Run(CONTROL, smallest, seed, same_tokens) for seed in seeds]
    start = Run(PIXELS, longest, 0, same_tokens)
    from_pixels = [Run(LATENTS, samples, 0, same_tokens, start) for samples in sizes.from_pixels]
    finer = [Run(PIXELS, samples, seed, settings) for samples, seed in budgets] if settings != same_tokens else []
    return [*compared, *control, *from_pixels, *finer]


def of_longest(reads: str, place: Workplace) -> Run:
    """The run of the longest budget, at the Latent-CLIP's number of tokens."""
    return Run(reads, place.sizes.budgets[-1], 0, replace(chosen_settings(place), patch=TOKEN))


def chosen_settings(place: Workplace) -> Settings:
    """The twin's best, as the search found it; before the search, those that it starts with."""
    path = place.work / CHOSEN
    return Settings(**read_json(path, "the settings")) if path.exists() else Settings()


def is_searched(place: Workplace) -> bool:
    """True once the search has found the twin's best."""
    return (place.work / CHOSEN).exists()


def keep_settings(place: Workplace, settings: Settings) -> None:
    """Write down what the search found."""
    write_atomic(place.work / CHOSEN, (json.dumps(asdict(settings), indent=1) + "\n").encode())
