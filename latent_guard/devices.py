"""The device of models where none is named, and what it does fast."""

from __future__ import annotations


def best_device() -> str:
    """``cuda`` where torch finds a GPU, ``cpu`` elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def has_fast_bfloat16(device: str) -> bool:
    """Whether bfloat16 is fast: processors before AVX-512 convert every number, and take many times as long."""
    import torch

    return device != "cpu" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")
