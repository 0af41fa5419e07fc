"""The device of models where none is named."""

from __future__ import annotations


def best_device() -> str:
    """``cuda`` where torch finds a GPU, ``cpu`` elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
