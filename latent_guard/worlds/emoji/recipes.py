"""The recipes of the world's CLIPs, as files for ``latent-guard train``.

``clean`` and ``twin_clean`` train on clean pictures; ``guard`` and ``pixel_twin`` continue from them on the generator's
clean estimates as well. ``pixel_twin`` is the pixel CLIP of the guard: it reads pixels of the same scenes and captions,
for as many samples, with the same text tower and width. ``grader`` is the metric CLIP: it reads clean pixels of other
scenes, captions and seeds, and no method uses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from latent_guard.devices import best_device, has_fast_bfloat16
from latent_guard.files.atomic import write_atomic
from latent_guard.worlds.emoji.scale import Scale

TOWERS: dict[str, Any] = {
    "embed_dim": 128,
    "reads_noise_level": True,  # the first stage has clean latents only, the second clean estimates too
    "vision": {"patch_size": 1, "width": 128, "layers": 4, "heads": 4},
    "text": {"context_length": 32, "width": 128, "layers": 3, "heads": 4},
}
PIXEL_PATCH = 8  # pixels along a side of a latent position
SECOND_STAGE = {"guard": "clean", "pixel_twin": "twin_clean"}


def write_recipe(name: str, folder: Path, scale: Scale, seed: int) -> Path:
    """Write ``folder/recipes/NAME.yaml`` and return its path."""
    pixels = name in ("twin_clean", "pixel_twin", "grader")
    shards = ["pixels", "estimate_pixels"] if pixels else ["latents", "estimates"]
    shards = ["grader_pixels"] if name == "grader" else shards
    first = SECOND_STAGE.get(name)
    recipe: dict[str, Any] = {
        "data": [str(folder / "shards" / shard) for shard in (shards if first else shards[:1])],
        "out": str(folder / name),
        "model": {**TOWERS, "vision": {**TOWERS["vision"], "patch_size": PIXEL_PATCH}} if pixels else TOWERS,
        "steps": scale.clip_steps_on_estimates if first else scale.clip_steps,
        "batch_size": scale.clip_batch,
        "learning_rate": 1e-3,
        "muon_rate": 1e-2,
        "warmup": scale.clip_steps // 20,
        "weight_decay": 0.05,
        "precision": "bf16" if has_fast_bfloat16(best_device()) else "fp32",
        "seed": seed + 1 if first else seed,
    }
    if first:
        recipe["init_from"] = str(folder / first)
    path = folder / "recipes" / f"{name}.yaml"
    write_atomic(path, yaml.safe_dump(recipe, sort_keys=False).encode())
    return path
