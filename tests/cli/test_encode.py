from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.latent_clip.checkpoint import read_config
from latent_guard.training.mapped import MappedShards
from latent_guard.training.shards import read_shards
from tests.training.images import samples_in, write_webdataset

Command = Callable[..., Any]


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    return write_webdataset(tmp_path / "source", tars=2, samples=3)


def test_images_go_through_the_shipped_vae(latent_guard_command: Command, tars: Path, tmp_path: Path) -> None:
    done = latent_guard_command("encode", tars, tmp_path / "out", "--size", 16)
    assert (done.code, done.out) == (0, f"{tmp_path / 'out'} holds 6 samples in 2 shards\n")
    assert "images/s" in done.err
    assert read_shards([tmp_path / "out"]).latents.shape == (6, 8, 2, 2)


def test_a_pipelines_vae_and_a_latent_clips_tokenizer_are_used(
    latent_guard_command: Command, tiny_bundle: Path, tars: Path, tmp_path: Path
) -> None:
    for vae in (tiny_bundle / "pipeline", tiny_bundle / "pipeline" / "vae"):
        out = tmp_path / vae.name
        done = latent_guard_command("encode", tars, out, "--vae", vae, "--tokenizer", tiny_bundle / "guard")
        assert done.code == 0
        context = read_config(tiny_bundle / "guard").text.context_length
        assert MappedShards([out]).gather(range(6)).ids.shape == (6, context)
        assert MappedShards([out]).shape == (4, 8, 8)


def test_machines_share_the_work_and_the_last_one_finishes_it(
    latent_guard_command: Command, tars: Path, tmp_path: Path
) -> None:
    first = latent_guard_command("encode", tars, tmp_path / "out", "--size", 16, "--shard", "1/2")
    assert "3 samples in 1 shards; others are still at work" in first.out
    assert not (tmp_path / "out" / "index.json").exists()
    assert "6 samples" in latent_guard_command("encode", tars, tmp_path / "out", "--size", 16, "--shard", "2/2").out
    assert len(read_shards([tmp_path / "out"])) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "3/2"], "--shard 3/2 is not i/n"),
        (["--vae", "nowhere"], "--vae nowhere is neither a folder nor a hub id"),
        (["--size", "15"], "size 15 is not a multiple of 8"),
        (["--caption-column", "title"], "has no column title"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(
    latent_guard_command: Command, tars: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = latent_guard_command("encode", tars, tmp_path / "out", *arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.slow
def test_processes_of_accelerate_share_the_work(tars: Path, tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "latent_guard", "encode", str(tars), str(tmp_path / "out"), "--size", "16"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, *launch, *command, "--rows-per-shard", "1"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert len(set(samples_in(tmp_path / "out"))) == 6
    assert len(read_shards([tmp_path / "out"])) == 6
    begun = (tmp_path / "out" / "manifests").glob("part-*.json")
    assert len(list(begun)) == 6
