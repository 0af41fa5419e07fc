"""The device that a model goes to where nobody names one."""

from __future__ import annotations


def best_device() -> str:
    """``cuda`` where torch finds a GPU, ``cpu`` elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
