"""The few-step generator as it ships: a UNet and a scheduler, for the pipeline whose other parts it shares.

Plain diffusers loads it as it loads a UNet of Latent Consistency Models:

    unet = UNet2DConditionModel.from_pretrained(few_step_folder() / "unet")
    scheduler = LCMScheduler.from_pretrained(few_step_folder() / "scheduler")
    pipe = DiffusionPipeline.from_pretrained(bundle_folder() / "pipeline", unet=unet, scheduler=scheduler)
    pipe("a cat", num_inference_steps=4, guidance_scale=1.0)
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import LCMScheduler
from diffusers import UNet2DConditionModel as UNet

from latent_guard.files.documents import read_json
from latent_guard.worlds.emoji.bundle import write_manifest
from latent_guard.worlds.emoji.distillation import few_step_scheduler
from latent_guard.worlds.emoji.rounding import rounded

SIGNIFICAND_BITS = 4  # of 10 that float16 has: 10 MB are 6 in a wheel, and pictures differ by 40 dB (benchmarks/LOG.md)
RECORD = "training.json"


def few_step_parts(home: Path, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Load UNet and scheduler, as arguments of ``from_pretrained`` that replace those of the world's pipeline."""
    unet = UNet.from_pretrained(home / "unet", torch_dtype=dtype, use_safetensors=True)
    return {"unet": unet, "scheduler": LCMScheduler.from_pretrained(home / "scheduler")}


def save_few_step(unet: UNet, home: Path, record: dict[str, Any]) -> None:
    """Write the generator and its manifest; an earlier build in the folder is replaced."""
    shutil.rmtree(home, ignore_errors=True)
    unet = unet.to(torch.float16)
    for weights in (parameter.data for parameter in unet.parameters() if parameter.ndim > 1):
        weights.copy_(rounded(weights, SIGNIFICAND_BITS))
    unet.save_pretrained(home / "unet", safe_serialization=True)
    config = home / "unet" / "config.json"
    settings = read_json(config, "the config")
    settings.pop("_name_or_path", None)  # a path of the machine that trained it
    config.write_text(json.dumps(settings, indent=2) + "\n")
    few_step_scheduler().save_pretrained(home / "scheduler")
    (home / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    write_manifest(home)
