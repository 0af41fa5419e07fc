"""Try what a family's module lists, one class a line: `python -m tests.pipelines.families.check MODULE [NAME]`."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any

import torch

from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.family_table import family_of
from latent_guard.pipelines.hook import around
from latent_guard.pipelines.latents import PipelineLatents
from latent_guard.pipelines.step import DenoisingStep
from tests.pipelines.families.tiny import Tiny


def last_look_is_what_is_decoded(tiny: Tiny) -> str:
    pipe = tiny.pipeline()
    space = family_of(pipe).space_of(pipe.vae)
    latents = PipelineLatents.of(pipe, LatentSpace.of_vae(pipe.vae), None)
    seen: list[torch.Tensor] = []
    decoded: list[torch.Tensor] = []

    def step(scheduler: Any, original: Any, call: Any) -> Any:
        own = DenoisingStep(latents, scheduler, call)
        again = own.clean()
        output = original(*call.args, **call.kwargs)
        if own.is_last:
            seen.append(own.final(output)[0])
        return output if again is not None else None

    def decode(vae: Any, original: Any, call: Any) -> Any:
        decoded.append(next(value for name, value in call.arguments.items() if name != "self"))
        return original(*call.args, **call.kwargs)

    with around(pipe.scheduler, "step", step), latents.layout.following(), around(pipe.vae, "decode", decode):
        images = tiny.call(pipe)
    if len(seen) != 1 or not decoded:
        return f"FAILED: {len(seen)} last steps, {len(decoded)} decodes"
    raw, given = seen[0], torch.cat([one.reshape(-1, *seen[0].shape[1:]) for one in decoded])
    error = float((raw - given.float()).abs().max())
    if error > 1e-3:
        return f"FAILED: what is decoded is off by {error:.3g}"
    return f"ok, {len(images)} images, raw {tuple(raw.shape)} of {space}"


def main() -> None:
    module = import_module(f"tests.pipelines.families.{sys.argv[1]}")
    for tiny in module.FAMILIES:
        if len(sys.argv) > 2 and sys.argv[2] not in tiny.name:
            continue
        try:
            print(tiny.name, last_look_is_what_is_decoded(tiny), flush=True)
        except Exception:
            print(tiny.name, "FAILED", traceback.format_exc(limit=-4), flush=True)


if __name__ == "__main__":
    main()
