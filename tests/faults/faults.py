"""Everything that can go wrong, one row each: what it is, what a way must have for it to happen, and how it is done."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tests.damage import bit_flipped, deleted, truncated
from tests.faults.strikes import (
    Strike,
    another_vae,
    asks_for_latents,
    calls_back,
    damaged,
    denoiser,
    edited,
    exchanges_the_bank,
    fails,
    full_disk,
    hanging,
    hangs_up,
    interrupts,
    of_model,
    of_scheduler,
    of_vae,
    previews,
    puts_in_the_unsafe,
    raising,
    scheduler_gives_nan,
    thresholds,
    unknown_scheduler,
)


@dataclass(frozen=True)
class Fault:
    """One row of the matrix; ``needs`` names a part of a way without which it cannot strike there."""

    group: str
    name: str
    strike: Strike
    needs: str = ""


BROKEN = RuntimeError("out of order")
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")
WEIGHTS, BANK = "model.safetensors", "bank/bank.json"
FILES, MODEL, PARTS, TIME, ASKED = (
    "Files of the guard",
    "The guard at work",
    "Parts of the pipeline",
    "Time, and who waits",
    "What the caller does",
)
FAULTS = (
    Fault(FILES, "weights missing", damaged(WEIGHTS, deleted)),
    Fault(FILES, "weights truncated", damaged(WEIGHTS, truncated)),
    Fault(FILES, "weights of another hash", damaged(WEIGHTS, bit_flipped)),
    Fault(FILES, "bank missing", damaged(BANK, deleted)),
    Fault(FILES, "bank edited", damaged(BANK, edited(BANK, "a dagger", "a flower"))),
    Fault(FILES, "thresholds edited", damaged("bank/bank.safetensors", bit_flipped)),
    Fault(FILES, "policy edited", damaged("policy.yaml", edited("policy.yaml", "block", "flag"))),
    Fault(FILES, "card edited", damaged("README.md", edited("README.md", "guard", "gate"))),
    Fault(FILES, "what it was fitted for edited", damaged("fitted.json", edited("fitted.json", "5.0", "1.0"))),
    Fault(MODEL, "Latent-CLIP raises", of_model(raising(BROKEN))),
    Fault(MODEL, "Latent-CLIP raises at the last look", of_model(raising(BROKEN), at_the_end=True)),
    Fault(MODEL, "device out of memory in a look", of_model(raising(OUT_OF_MEMORY))),
    Fault(MODEL, "host out of memory in a look", of_model(raising(MemoryError()))),
    Fault(MODEL, "embeddings NaN", of_model(lambda seen: seen * torch.nan)),
    Fault(MODEL, "embeddings NaN at the last look", of_model(lambda seen: seen * torch.nan, at_the_end=True)),
    Fault(MODEL, "embeddings infinite", of_model(lambda seen: seen + torch.inf)),
    Fault(MODEL, "embeddings all zero", of_model(torch.zeros_like)),
    Fault(MODEL, "one embedding for two images", of_model(lambda seen: seen[:1])),
    Fault(MODEL, "thresholds NaN", thresholds(torch.nan)),
    Fault(MODEL, "thresholds infinite", thresholds(torch.inf)),
    Fault(MODEL, "disk full under the audit log", full_disk, "audit"),
    Fault(PARTS, "another VAE", another_vae),
    Fault(PARTS, "a scheduler that the guard does not know", unknown_scheduler, "steps"),
    Fault(PARTS, "VAE raises", of_vae),
    Fault(PARTS, "scheduler raises", of_scheduler(raising(BROKEN)), "steps"),
    Fault(PARTS, "scheduler gives NaN", scheduler_gives_nan, "steps"),
    Fault(PARTS, "denoiser raises", denoiser(raising(BROKEN)), "steps"),
    Fault(PARTS, "device out of memory in the denoiser", denoiser(raising(OUT_OF_MEMORY)), "steps"),
    Fault(PARTS, "callback raises", calls_back(fails), "callbacks"),
    Fault(PARTS, "callback puts other latents in after the last step", calls_back(puts_in_the_unsafe), "callbacks"),
    Fault(TIME, "a look that hangs", hanging(of_model)),
    Fault(TIME, "a step that hangs", hanging(denoiser), "steps"),
    Fault(TIME, "interrupted between steps", calls_back(interrupts), "callbacks"),
    Fault(TIME, "the client hangs up", hangs_up, "clients"),
    Fault(TIME, "the guard's bank is exchanged in mid-call", exchanges_the_bank, "exchange"),
    Fault(ASKED, '`output_type="latent"`', asks_for_latents),
    Fault(ASKED, "previews, decoded by a callback", calls_back(previews), "callbacks"),
)
