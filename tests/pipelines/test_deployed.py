"""Compiled and offloaded pipelines: the same verdicts, and nothing left where it should not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook

from latent_guard.errors import GuardError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import STEER
from latent_guard.pipelines.canary import Canary
from latent_guard.testing import BrokenLatentCLIP, LinearLatentCLIP, linear_bank, linear_guard
from tests.pipelines.tiny import BY_NAME, Family

NEVER, ALWAYS = 1e3, -1e3
PUSHES = replace(STEER, window=(1.0, 0.0))
NAMES = ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline"]
deployed_families = pytest.mark.parametrize("family", [BY_NAME[name] for name in NAMES], ids=NAMES)


@pytest.mark.slow
@deployed_families
@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "wrapped"])
def test_a_compiled_denoiser_is_guarded_alike(family: Family, in_place: bool) -> None:
    pipe = family.pipeline()
    name = "transformer" if "transformer" in pipe.components else "unet"
    denoiser = getattr(pipe, name)
    if in_place:
        denoiser.compile(backend="eager")
    else:
        setattr(pipe, name, torch.compile(denoiser, backend="eager"))
    plain = family.call(pipe)
    with linear_guard(NEVER).attach(pipe) as watch:
        assert torch.equal(family.call(pipe), plain)
    with linear_guard(ALWAYS, PUSHES).attach(pipe) as watch:
        assert not torch.equal(family.call(pipe), plain)
    assert all(v.cost.pushes > 0 for v in watch.verdicts)
    assert torch.equal(family.call(pipe), plain)


def offload_models(pipe: Any) -> None:
    """What `enable_model_cpu_offload` does, on a machine without an accelerator: whole models, one after the other."""
    hook = None
    for model in models(pipe):
        _, hook = cpu_offload_with_hook(model, torch.device("cpu"), prev_module_hook=hook)


def offload_layers(pipe: Any) -> None:
    """What `enable_sequential_cpu_offload` does, likewise: every layer's weights are loaded for its own call only."""
    for model in models(pipe):
        cpu_offload(model, torch.device("cpu"), offload_buffers=True)


def models(pipe: Any) -> list[Any]:
    return [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]


@pytest.mark.slow
@deployed_families
@pytest.mark.parametrize("offload", [offload_models, offload_layers])
def test_an_offloaded_pipeline_is_guarded_alike(family: Family, offload: Callable[[Any], None]) -> None:
    pipe = check_offloaded(family, offload)
    assert all(hasattr(model, "_hf_hook") for model in models(pipe) if list(model.parameters()))


@pytest.mark.gpu
@deployed_families
@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_a_pipeline_offloaded_from_a_gpu_is_guarded_alike_and_left_offloaded(family: Family, way: str) -> None:
    pipe = check_offloaded(family, lambda pipe: getattr(pipe, way)())
    assert {p.device.type for model in models(pipe) for p in model.parameters()} <= {"cpu", "meta"}


def check_offloaded(family: Family, offload: Callable[[Any], None]) -> Any:
    pipe = family.pipeline()
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    canary = Canary.made_by(pipe.vae, picture)
    offload(pipe)
    plain = family.call(pipe)
    for threshold in (NEVER, ALWAYS):
        guard = LatentGuard(LinearLatentCLIP(), linear_bank(threshold), PUSHES, canary)
        with guard.attach(pipe) as watch:
            assert torch.equal(family.call(pipe), plain) == (threshold == NEVER)
        assert len(watch.verdicts) == 3
    broken = linear_guard(NEVER, model=BrokenLatentCLIP(error=ValueError("out of order")))
    with pytest.raises(GuardError, match="out of order"), broken.attach(pipe):
        family.call(pipe)
    assert torch.equal(family.call(pipe), plain)
    return pipe
