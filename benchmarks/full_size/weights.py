"""Networks with random weights, made without ever holding more of them than are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

GIB = 2**30


def materialised(
    make: Callable[[], Any], device: str, dtype: torch.dtype, repeats: Sequence[str] = ()
) -> tuple[Any, float]:
    """A network with random weights on a device, ready for inference, and the GiB of weights that repeating saved.

    Args:
        make: makes it, with whatever weights.
        device: where it is to compute.
        dtype: of its weights; buffers keep theirs.
        repeats: lists of blocks, alike in shape, of which the first stands in the place of all. A step takes the same
            time, as no cache holds a block's weights until the next one.
    """
    with init_empty_weights(include_buffers=False):  # plain tensors, as of rotary positions, are no buffers
        network = make()
    whole = count(network)
    for name in repeats:
        blocks = network.get_submodule(name)
        for place in range(1, len(blocks)):
            blocks[place] = blocks[0]
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            drawn = _drawn(name, torch.empty(weight.shape, device=device, dtype=dtype))
            module.register_parameter(name, nn.Parameter(drawn, requires_grad=False))
    saved = (whole - count(network)) * dtype.itemsize / GIB
    return network.to(device).eval(), saved


def _drawn(name: str, weight: Tensor) -> Tensor:
    """Weights that keep activations at their size: norms are the identity, and what adds up has a variance of 1."""
    if weight.numel() == len(weight):
        return weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return weight.normal_(std=(len(weight) / weight.numel()) ** 0.5)


def count(network: nn.Module) -> int:
    """Weights that a network holds; those that stand in several places are held once."""
    return sum(weight.numel() for weight in network.parameters())
