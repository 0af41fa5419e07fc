"""The loss of a whole batch and its gradients, however many samples fit into memory at once.

Shapes: B samples of this process, D the embedding dimension, m samples in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor, nn

from latent_guard.training.data.batches import Batch
from latent_guard.training.towers import Features

Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def contrastive_loss(kind: str, rank: int = 0, processes: int = 1) -> Loss:
    """Make CLIP's softmax loss or SigLIP's sigmoid loss over the features of all processes, with their gradients.

    Each process computes the loss of its own B images and texts against all; the mean over processes is the batch's.
    """
    if kind == "siglip":
        sigmoid: Loss = SigLipLoss(rank=rank, world_size=processes, dist_impl="gather")
        return sigmoid
    softmax: Loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=processes)
    return softmax


def backward(towers: nn.Module, batch: Batch, loss: Loss, micro_batch: int | None = None) -> Tensor:
    """Add the gradients of the batch's loss to the towers' parameters.

    With ``micro_batch`` m < B, features are computed m at a time: first without gradients, then again with gradients,
    weighted by the loss's gradient for each feature. The result is that of the whole batch (GradCache, Gao et al. 2021,
    section 3.2).

    Returns:
        The loss, a scalar without gradient.
    """
    if micro_batch is not None and micro_batch < len(batch):
        return _cached_backward(towers, batch.split(micro_batch), loss)
    value = loss(*_features(towers, batch))
    value.backward()
    return value.detach()


def _cached_backward(towers: nn.Module, parts: list[Batch], loss: Loss) -> Tensor:
    with torch.no_grad():
        features = [_features(getattr(towers, "module", towers), part) for part in parts]
    images = torch.cat([part.images for part in features]).requires_grad_()
    texts = torch.cat([part.texts for part in features]).requires_grad_()
    scale = features[0].scale.detach().clone().requires_grad_()
    bias = features[0].bias
    if bias is not None:
        bias = bias.detach().clone().requires_grad_()
    value = loss(images, texts, scale, bias)
    value.backward()
    size = len(parts[0])
    image_gradients = _gradient(images).split(size)
    text_gradients = _gradient(texts).split(size)
    for number, part in enumerate(parts):
        with nullcontext() if number == len(parts) - 1 else _unsynchronised(towers):
            again = _features(towers, part)
            product = (again.images * image_gradients[number]).sum() + (again.texts * text_gradients[number]).sum()
            product = product + again.scale * _gradient(scale) / len(parts)
            if again.bias is not None and bias is not None:
                product = product + again.bias * _gradient(bias) / len(parts)
            product.backward()
    return value.detach()


def _features(towers: nn.Module, batch: Batch) -> Features:
    features: Features = towers(batch.latents, batch.noise_levels, batch.texts)
    return features


def _gradient(value: Tensor) -> Tensor:
    assert value.grad is not None
    return value.grad


def _unsynchronised(towers: nn.Module) -> AbstractContextManager[Any]:
    """Keep DDP from summing gradients over processes: it does so in the backward pass of the last part alone."""
    no_sync: Callable[[], AbstractContextManager[Any]] = getattr(towers, "no_sync", nullcontext)
    return no_sync()
