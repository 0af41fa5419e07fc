"""Which pipeline makes a run: its class, and a digest of the weights of every model in it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latent_guard.hub_ids import is_hub_id

SAMPLED = 2**16  # elements of a tensor that are read, at the most
_DIGITS = 16


def pipeline_identity(pipe: Any) -> dict[str, str]:
    """What a run records of a pipeline, and compares when it is resumed: ``pipeline``, its class and its weights.

    The scheduler's settings and the scale of an adapter are not in it.

    Where it was loaded from is told of the hub alone: a folder lies elsewhere on another machine.
    """
    name = str(getattr(pipe.config, "_name_or_path", None) or "")
    told = {"pipeline": f"{type(pipe).__name__}, weights {weights_digest(pipe)}"}
    return {**told, "loaded_from": name} if is_hub_id(name) and not Path(name).exists() else told


def weights_digest(pipe: Any) -> str:
    """Sixteen hexadecimal digits of a pipeline's weights: denoiser, VAE, text encoders and whatever else it runs.

    Hashed are each tensor's name, shape, data type and values: all of them, or of a tensor with more than ``SAMPLED``
    elements every n-th. A change of a few elements of a large tensor may go unseen; other weights, another training
    and an adapter do not. Of a tensor that is kept away from any device, name, shape and type alone count.
    """
    digest = hashlib.sha256()
    for part, module in sorted(pipe.components.items()):
        if not isinstance(module, nn.Module):
            continue
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(json.dumps([part, name, list(tensor.shape), str(tensor.dtype)]).encode())
            if not tensor.is_meta:
                digest.update(_sample(tensor))
    return digest.hexdigest()[:_DIGITS]


def _sample(tensor: Tensor) -> bytes:
    # An odd stride: one that divides the length of a row would read the same few columns of all rows.
    stride = math.ceil(tensor.numel() / SAMPLED) | 1
    values = tensor.detach().reshape(-1)[::stride].cpu().contiguous()
    return values.view(torch.uint8).numpy().tobytes()
