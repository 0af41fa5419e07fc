"""Recordings: what is kept, what is made again after a kill, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from latent_guard.errors import GuardError, InputError
from latent_guard.fitting.record import BATCH, Job, Recording, record
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.latents import PipelineLatents

ARGUMENTS = {"num_inference_steps": 3, "guidance_scale": 1.0}
JOBS = [Job(f"{number} apples", number) for number in range(BATCH + 2)]


def recorded(pipe: Any, folder: Path, jobs: list[Job] = JOBS, **arguments: Any) -> Recording:
    latents = PipelineLatents.of(pipe, LatentSpace.of_vae(pipe.vae), None)
    return record(pipe, latents, jobs, folder, (1.0, 0.1), {**ARGUMENTS, **arguments})


def test_the_last_look_is_the_final_latent_of_the_unguarded_call(pipe, tmp_path) -> None:
    recording = recorded(pipe, tmp_path)
    plain = pipe(JOBS[0].prompt, generator=torch.Generator().manual_seed(0), output_type="latent", **ARGUMENTS).images
    raw = LatentSpace.of_vae(pipe.vae).to_raw(plain[0]).half()
    assert torch.allclose(torch.cat(recording.batches(-1))[0], raw, atol=1e-2)
    assert len(recording) == len(JOBS)
    assert recording.noise_levels[-1] == 0
    assert (recording.noise_levels.diff() < 0).all()
    assert [batch.shape[1] for batch in recording.batches()] == [len(recording.noise_levels)] * 2


def test_what_is_missing_is_made_again_and_nothing_else(pipe, tmp_path) -> None:
    first = recorded(pipe, tmp_path)
    whole = [shard.read_bytes() for shard in first.shards]
    written = first.shards[0].stat().st_mtime_ns
    first.shards[1].unlink()
    with pytest.raises(InputError, match="run the same command again"):
        Recording.open(tmp_path)
    again = recorded(pipe, tmp_path)
    assert [shard.read_bytes() for shard in again.shards] == whole
    assert again.shards[0].stat().st_mtime_ns == written


def test_another_fit_does_not_go_on_with_it(pipe, tmp_path) -> None:
    recorded(pipe, tmp_path)
    with pytest.raises(InputError, match="other prompts"):
        recorded(pipe, tmp_path, [Job("a pear", 1)])


def test_latents_that_overflow_are_refused_before_they_are_written(pipe, tmp_path) -> None:
    with torch.no_grad():
        pipe.unet.conv_out.bias.fill_(1e9)
    with pytest.raises(GuardError, match="bfloat16 or float32"):
        recorded(pipe, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
