"""Files of latents that others made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from latent_guard.errors import InputError, reason_of
from latent_guard.files.plain import plain_file

LATENTS = (".safetensors",)
MAX_NUMBERS = 1 << 28  # of one file: a gigabyte of them as float32
_MAX_BYTES = 8 * MAX_NUMBERS


def read_latents(path: Path) -> Tensor:
    """Latents (B, C, H, W), float32: the tensor ``latents``, or the only one.

    Raises:
        InputError: there is none, it is of another shape, too large, or the file is none that can be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with plain_file(path, _MAX_BYTES), safe_open(path, framework="pt") as file:
            name = _name_of_latents(file.keys())
            shape = tuple(file.get_slice(name).get_shape())
            _require_latents(shape)
            latents: Tensor = file.get_tensor(name)
            if not latents.is_floating_point():
                raise InputError(f"its latents are numbers of the kind {latents.dtype}, not fractions")
            return latents.float() if len(shape) == 4 else latents.float()[None]
    except InputError:
        raise
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"not a readable safetensors file ({reason_of(error)})") from error


def _name_of_latents(names: Sequence[str]) -> str:
    if "latents" in names or len(names) == 1:
        return "latents" if "latents" in names else names[0]
    raise InputError('no tensor "latents" of shape (B, C, H, W) or (C, H, W)')


def _require_latents(shape: tuple[int, ...]) -> None:
    if len(shape) not in (3, 4):
        raise InputError('no tensor "latents" of shape (B, C, H, W) or (C, H, W)')
    if not math.prod(shape):
        raise InputError(f"its latents of shape {shape} are empty; save at least one")
    if math.prod(shape) > MAX_NUMBERS:
        raise InputError(f"its latents of shape {shape} are over {MAX_NUMBERS:,} numbers; split it up")
