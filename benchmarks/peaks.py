"""What a machine could do at most: its arithmetic a second."""

from __future__ import annotations

import time

import torch

# Dense bfloat16 with sums in float32, in TFLOP/s, from NVIDIA's data sheets; the first name that fits counts.
PUBLISHED_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.4,
    "GH200": 989.4,
    "H100 PCIe": 756.4,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "A100": 311.9,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
SIDE, PRODUCTS = 1536, 8


def peak_flops(device: torch.device) -> tuple[float, str]:
    """FLOP/s in bfloat16 and where the figure is from: a GPU's data sheet, else the fastest of some large products.

    A processor without bfloat16 arithmetic is faster in float32, which then is what it could do at most.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for known, tflops in PUBLISHED_TFLOPS.items():
            if known in name:
                return tflops * 1e12, f"published for {known}"
    one = torch.randn(SIDE, SIDE, device=device)
    fastest, dtype = min(
        (min(_seconds_of_product(one.to(dtype)) for _ in range(PRODUCTS)), str(dtype).removeprefix("torch."))
        for dtype in (torch.bfloat16, torch.float32)
    )
    return 2 * SIDE**3 / fastest, f"fastest of {PRODUCTS} {dtype} products of {SIDE} x {SIDE} matrices"


def _seconds_of_product(one: torch.Tensor) -> float:
    if one.is_cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    one @ one
    if one.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
