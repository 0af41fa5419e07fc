"""What a loaded model can be asked for: steps that its scheduler has, images that fit into memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError


def check_call(pipe: Any, steps: int, images: int) -> None:
    """Raise InputError for a call of a pipeline that would fail after a while, or take all memory."""
    _check_steps(pipe.scheduler, steps)
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    size = getattr(pipe, "default_sample_size", None) or (denoiser.config.get("sample_size") if denoiser else None)
    factor = getattr(pipe, "vae_scale_factor", None)
    if isinstance(size, int) and isinstance(factor, int):
        check_memory(pipe.vae, images, size * factor)


def check_memory(vae: Any, images: int, side: int) -> None:
    """Raise InputError for more images at once than fit into memory, whatever else a model takes.

    Counted is what a VAE holds at the least: twice what comes of its layer of the full size.
    """
    config = vae.config
    widths = config.get("block_out_channels") or config.get("encoder_block_out_channels") or [1]
    an_image = 2 * int(widths[0]) * side * side * vae.dtype.itemsize
    if images * an_image > (free := _free_memory(vae.device)):
        raise InputError(
            f"{images:,} images at once of {side} x {side} pixels do not fit into the {free / 2**30:.1f} GiB of memory "
            f"that are free; ask for at most {free // an_image:,}, or for smaller ones"
        )


def _check_steps(scheduler: Any, steps: int) -> None:
    known = [scheduler.config.get(name) for name in ("num_train_timesteps", "original_inference_steps")]
    most = min((number for number in known if isinstance(number, int)), default=steps)
    if steps > most:
        raise InputError(f"{steps} steps are asked for, and the model's {type(scheduler).__name__} has {most} at most")


def _free_memory(device: Any) -> int:
    """Bytes."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux: all that there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
