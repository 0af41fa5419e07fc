from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.latent_clip.model_files import read_config
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.data.mapped_shards import MappedShards
from tests.damage import bit_flipped, garbage
from tests.training.images import jpeg, tiny_vae, write_folder, write_webdataset

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


@pytest.mark.parametrize("out", ["source", "source/shards", ".", "link"])
@pytest.mark.parametrize("source", ["source", "source/*.tar", "source/00000.tar", "*/*.tar"])
def test_shards_do_not_lie_among_their_images(
    latent_guard_command: Command, tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tars)
    before = sorted(tmp_path.rglob("*"))
    if (source, out) in (("source/*.tar", "source/shards"), ("source/00000.tar", "source/shards")):
        out = "source/../source"
    if (source, out) == ("*/*.tar", "source/shards"):
        out = "shards"
    done = latent_guard_command("encode", source, out, "--size", 16)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "lie in each other; choose a folder for the shards beside the images" in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_shard_is_refused_by_train_with_the_command_that_mends_it(
    latent_guard_command: Command, tars: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out folder"
    command = ["encode", tars, out, "--size", "16", "--native-aspect", "--dtype", "bfloat16", "--rows-per-shard", "2"]
    assert latent_guard_command(*command).code == 0
    whole = contents(out)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{steps: 1, batch_size: 2, learning_rate: 0.001, model: {embed_dim: 8, vision: {patch_size: 1, width: 8, "
        "layers: 1, heads: 1}, text: {width: 8, layers: 1, heads: 1}}}"
    )
    for name in ("part-00000-00001.tar", "canary.safetensors"):
        bit_flipped(out / name) if name.endswith("tar") else garbage(out / name)
        refused = latent_guard_command("train", recipe, "--data", out, "--out", tmp_path / "model")
        mend = refused.err.partition("; run `latent-guard ")[2].rpartition("` again")[0]
        assert (refused.code, len(refused.err.splitlines()), name in refused.err) == (2, 1, True)
        assert not (tmp_path / "model").exists()
        assert shlex.split(mend) == [*map(str, command)]
        done = latent_guard_command(*shlex.split(mend))
        assert (done.code, done.out) == (0, f"{out} holds 6 samples in 4 shards\n")
        assert contents(out) == whole
    assert latent_guard_command("train", recipe, "--data", out, "--out", tmp_path / "model").code == 0
    assert (tmp_path / "model" / "canary.safetensors").read_bytes() == whole["canary.safetensors"]


@pytest.mark.slow
def test_two_processes_write_what_one_would(latent_guard_command: Command, tars: Path, tmp_path: Path) -> None:
    tiny_vae().save_pretrained(tmp_path / "vae")
    command = ["encode", str(tars), "--vae", str(tmp_path / "vae"), "--rows-per-shard", "1"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "latent_guard"]
    done = subprocess.run(
        [sys.executable, *launch, *command, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert "6 samples in 6 shards" in done.stdout
    assert latent_guard_command(*command, tmp_path / "alone").code == 0
    several, alone = contents(tmp_path / "out"), contents(tmp_path / "alone")
    for written in (several, alone):  # the command names the folder that it wrote, and the seal covers its text
        plan = json.loads(written["encode.json"])
        written["encode.json"] = {key: value for key, value in plan.items() if key not in ("command", "seal")}
    assert several == alone
    assert len(read_shards([tmp_path / "out"])) == 6


def contents(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_native_aspect_keeps_shapes_apart(latent_guard_command: Command, tmp_path: Path) -> None:
    images = {"wide.jpg": jpeg(0, 9, 16), "square.jpg": jpeg(1, 12, 12)}
    source = write_folder(tmp_path / "images", {name: f"a {name}" for name in images}, images)
    done = latent_guard_command("encode", source, tmp_path / "out", "--size", 64, "--native-aspect")
    assert (done.code, done.out) == (0, f"{tmp_path / 'out'} holds 2 samples in 1 shards\n")
    assert list(MappedShards([tmp_path / "out"]).by_shape()) == [(8, 6, 11), (8, 8, 8)]
