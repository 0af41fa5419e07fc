"""What reading a latent costs, against decoding it and reading the pixels: seconds, and arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import diffusers
import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.photographs.runs import of_longest
from benchmarks.photographs.shards import SIDE
from benchmarks.photographs.sizes import TOKEN
from benchmarks.photographs.workplace import LATENTS, PIXELS, Workplace
from benchmarks.timing import Work, in_turns
from latent_guard.bench.metrics import bootstrap
from latent_guard.bench.result_table import Row, not_measured
from latent_guard.building import build
from latent_guard.devices import best_device
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_vae
from latent_guard.pipelines.tiny_autoencoder import LATENT_CHANNELS

BATCH = 16
RUNS, BUDGET_S = 50, 60.0
LOOK, DECODE_AND_LOOK = "look", "decode and look"
FULL_DECODER, TINY_DECODER = "FLUX.2's decoder", "TAEF2's decoder"


@dataclass(frozen=True)
class Costs:
    """Seconds of each run of both, for a batch; GFLOP of each part, for one picture."""

    device: str
    seconds: dict[str, list[float]]
    gflop: dict[str, float]


@torch.inference_mode()
def measure_costs(place: Workplace) -> None:
    """Time both ways of reading the same latents in turn, and count the arithmetic of their parts."""
    device = best_device()
    own, twin = (LatentCLIP.from_pretrained(of_longest(r, place).folder(place), device) for r in (LATENTS, PIXELS))
    tiny = load_vae(place.vae(LATENTS))
    latents = torch.randn(BATCH, LATENT_CHANNELS, SIDE // TOKEN, SIDE // TOKEN, device=device)

    def decode_and_look() -> Tensor:
        return twin.encode_latents(tiny.decode(latents).sample.clamp(-1, 1))

    works: dict[str, Work] = {LOOK: lambda: own.encode_latents(latents), DECODE_AND_LOOK: decode_and_look}
    timed = in_turns(works, RUNS, BUDGET_S)
    counted = {name: gflop(work) / BATCH for name, work in works.items()}
    counted[TINY_DECODER] = gflop(lambda: tiny.decode(latents)) / BATCH
    with torch.device("meta"):
        vae = diffusers.AutoencoderKLFlux2()
    counted[FULL_DECODER] = gflop(lambda: vae.decode(latents[:1].to("meta")))
    costs = Costs(str(device), {name: list(timing.seconds) for name, timing in timed.items()}, counted)
    write_atomic(place.work / "costs.json", (json.dumps(asdict(costs), indent=1) + "\n").encode())


def rows_of_costs(place: Workplace) -> list[Row]:
    """A look in seconds against decode and twin, and in arithmetic against the full decoder."""
    seconds = "seconds of a look, of TAEF2's decode and the twin's look"
    arithmetic = "arithmetic of a look, of FLUX.2's full decoder and the twin's look"
    path = place.work / "costs.json"
    if not path.exists():
        return [not_measured(what, "reported", "the stage `cost` was not run yet") for what in (seconds, arithmetic)]
    costs = build(Costs, read_json(path, "the costs"), str(path))
    ratio = bootstrap.median_ratio(costs.seconds[LOOK], costs.seconds[DECODE_AND_LOOK])
    both = (1000 * float(np.median(costs.seconds[name])) / BATCH for name in (LOOK, DECODE_AND_LOOK))
    a_picture = "{:.2f} and {:.2f} ms a picture".format(*both)
    twin = costs.gflop[DECODE_AND_LOOK] - costs.gflop[TINY_DECODER]
    full = costs.gflop[FULL_DECODER] + twin
    in_gflop = f"{1000 * costs.gflop[LOOK]:.0f} MFLOP and {full:.1f} GFLOP for {SIDE} px; TAEF2's decoder "
    in_gflop += f"{costs.gflop[TINY_DECODER]:.1f}, the twin's look {twin:.2f} GFLOP"
    measured = f"1/{1 / ratio.value:.0f} (1/{1 / ratio.high:.0f} to 1/{1 / ratio.low:.0f})"
    return [
        Row(seconds, "reported", measured, ratio.count, True, f"{a_picture}, batches of {BATCH}; {costs.device}"),
        Row(arithmetic, "reported", f"1/{full / costs.gflop[LOOK]:.0f}", 1, True, in_gflop),
    ]


def gflop(work: Work) -> float:
    """Counted without the fused attention of inference, whose insides the counter does not see."""
    counter = FlopCounterMode(display=False)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with counter, sdpa_kernel(SDPBackend.MATH):
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.get_total_flops()) / 1e9
