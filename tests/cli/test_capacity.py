"""What a loaded model cannot do is said before it is tried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latent_guard.pipelines import capacity

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["generate", "x", "--steps", "1001", "--out", "out"],
            "1001 steps are asked for, and the model's DPMSolverMultistepScheduler has 1000",
        ),
        (["generate", "x", "--model", "shipped-few-step", "--steps", "51", "--out", "out"], "LCMScheduler has 50"),
        (["generate", "x", "--steps", "1", "--num-images", "4096", "--out", "out"], "ask for at most 21"),
        (["bench", "run", "spec.yaml", "--out", "out"], "1001 steps are asked for"),
    ],
)
def test_more_than_the_model_can_is_refused_in_a_line(
    latent_guard_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capacity, "_free_memory", lambda device: 16 * 2 * 32 * 64 * 64 * 4 - 1)
    (tmp_path / "prompts.csv").write_text("prompt,evaluation_seed\na cat,1\n")
    (tmp_path / "spec.yaml").write_text(
        "name: a\nsteps: 1001\ntasks: {a: {prompts: prompts.csv}}\nmethods: [unguarded]\njudge: emoji-judge\n"
    )
    done = latent_guard_command(*arguments)
    assert done.code == 2
    assert says in done.err
    assert done.err.count("error: ") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("part", "key", "value", "says"),
    [
        (
            "scheduler/scheduler_config.json",
            "num_train_timesteps",
            10**10,
            "num_train_timesteps must be a whole number",
        ),
        ("unet/config.json", "layers_per_block", 10**9, "layers_per_block must be a whole number"),
        ("text_encoder/config.json", "num_hidden_layers", 10**9, "num_hidden_layers must be"),
        ("text_encoder/config.json", "max_position_embeddings", 10**9, "max_position_embeddings must be"),
        ("vae/config.json", "block_out_channels", [10**9, 8], "block_out_channels must be"),
        ("model_index.json", "unet", [[[]]] * 10**3, "cannot load the pipeline"),
    ],
)
def test_a_pipeline_that_asks_for_far_too_much_is_not_built(
    latent_guard_command: Command, tmp_path: Path, tiny_bundle: Path, part: str, key: str, value: Any, says: str
) -> None:
    shutil.copytree(tiny_bundle / "pipeline", tmp_path / "pipeline")
    config = json.loads((tmp_path / "pipeline" / part).read_text())
    (tmp_path / "pipeline" / part).write_text(json.dumps({**config, key: value}))
    done = latent_guard_command(
        "generate", "x", "--steps", 1, "--model", tmp_path / "pipeline", "--out", tmp_path / "o"
    )
    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("change", [{"timestep_spacing": {}}, {"timestep_spacing": 0}, {"beta_schedule": "none"}])
def test_a_config_that_diffusers_finds_out_late_is_one_line(
    latent_guard_command: Any, tiny_bundle: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    path = bundle / "pipeline" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = latent_guard_command(
        "generate", "a cat", "--safe", "--steps", 1, "--model", bundle / "pipeline", "--out", tmp_path / "out"
    )
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
