"""``latent-guard reno`` as a user meets it, on the models that ship."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Finished

Command = Callable[..., Finished]
SHORT = ("--iterations", "4")


def test_it_writes_images_curves_and_records(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command(
        "reno", "a photo of a cat left of a dog", *SHORT, "--num-images", "2", "--out", tmp_path
    )
    assert done.code == 0, done.err
    assert done.out.split() == [str(tmp_path / "000.png"), str(tmp_path / "001.png")]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run.json", *(f"00{i}{end}" for i in (0, 1) for end in (".png", ".json", "-rewards.png"))}
    record = json.loads((tmp_path / "001.json").read_text())
    assert list(record["rewards"]) == ["latent-clip"]
    assert len(record["total"]) == record["iterations"] == 4
    assert record["total"][record["best_iteration"]] == max(record["total"]) > record["total"][0]
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["prompt"], run["model"], run["num_inference_steps"]) == (
        "a photo of a cat left of a dog",
        "shipped-few-step",
        1,
    )
    assert Image.open(tmp_path / "000.png").size == (64, 64)


def test_save_steps_writes_a_strip_of_intermediates(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command("reno", "a cat", "--iterations", "12", "--save-steps", "--out", tmp_path)
    assert done.code == 0, done.err
    strip = Image.open(tmp_path / "000-steps.png")
    assert strip.width > 8 * 128
    assert strip.height > 128


def test_a_strip_of_a_run_that_ends_early_has_its_last_iteration(latent_guard_command: Command, tmp_path: Path) -> None:
    stop = ("--target", "-1000", "--save-steps")
    done = latent_guard_command("reno", "a cat", "--iterations", "30", *stop, "--out", tmp_path / "one")
    assert done.code == 0, done.err
    assert Image.open(tmp_path / "one" / "000-steps.png").width == 8 + 136  # one image with its gaps
    wild = ("--patience", "1", "--learning-rate", "9999", "--save-steps")
    done = latent_guard_command("reno", "a cat", "--iterations", "30", *wild, "--out", tmp_path / "two")
    assert done.code == 0, done.err
    assert 1 < json.loads((tmp_path / "two" / "000.json").read_text())["iterations"] < 30
    assert Image.open(tmp_path / "two" / "000-steps.png").width >= 4 + 2 * 132


def test_rewards_are_summed_by_weight(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command(
        "reno", "a pirate party", *SHORT, "--reward", "safety=2", "--reward", "pixel-clip", "--out", tmp_path
    )
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "000.json").read_text())
    safety, clip = record["rewards"]["safety"], record["rewards"]["pixel-clip"]
    assert record["total"] == pytest.approx([2 * s + c for s, c in zip(safety, clip, strict=True)], rel=1e-4)
    assert all(value <= 0 for value in safety)


def test_a_second_run_leaves_nothing_of_the_first(latent_guard_command: Command, tmp_path: Path) -> None:
    short = ("--iterations", "2", "--out", tmp_path)
    latent_guard_command("reno", "a cat", "--save-steps", "--num-images", "2", *short)
    latent_guard_command("reno", "a cat", *short)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "000.png", "000.json", "000-rewards.png"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--reward", "beauty"), "choose from latent-clip, pixel-clip, safety"),
        (("--reward", "safety=much"), "the weight must be a number"),
        (("--reward", "safety", "--reward", "safety=2"), "names one reward twice"),
        (("--reward", "safety=-1"), "the weight must be a number over 0"),
        (("--reward", "latent-clip=nan"), "the weight must be a number over 0"),
        (("--iterations", "0"), "iterations"),
        (("--steps", "20"), "20 steps are not few"),
        (("--learning-rate", "0"), "learning_rate"),
        (("--num-images", "0"), "--num-images"),
        (("--model", "nowhere"), "neither a folder nor a hub id"),
        (("--reward", "safety", "--bank", "nowhere"), "nowhere"),
        (("--reward", "pixel-clip", "--pixel-clip", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    latent_guard_command: Command, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = latent_guard_command("reno", "a cat", "--out", tmp_path / "out", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert says in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_few_step_or_has_no_bank_is_refused(
    latent_guard_command: Command, tmp_path: Path, tiny_bundle: Path
) -> None:
    out = ("--out", tmp_path / "out")
    done = latent_guard_command("reno", "a cat", "--model", tiny_bundle / "pipeline", *out)
    assert (done.code, "DDIMScheduler is no few-step scheduler" in done.err) == (2, True)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "pipeline").symlink_to(tiny_bundle / "pipeline")
    (alone / "guard").symlink_to(tiny_bundle / "guard")
    done = latent_guard_command("reno", "a cat", "--model", alone / "pipeline", "--reward", "safety", *out)
    assert (done.code, "no bank lies beside" in done.err) == (2, True)


def test_the_few_step_model_draws_under_guard_too(latent_guard_command: Command, tmp_path: Path) -> None:
    done = latent_guard_command(
        "generate", "a birthday party", "--safe", "--model", "shipped-few-step", "--out", tmp_path
    )
    assert done.code == 0, done.err
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["num_inference_steps"], run["guidance_scale"]) == (4, 1.0)


def test_prompts_of_geneval_are_optimised_and_laid_out_for_its_evaluator(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    metadata, out = tmp_path / "metadata.jsonl", tmp_path / "run"
    metadata.write_text('{"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat"}\n' * 2)
    methods = ("--method", "unguarded", "--method", "reno:reward=latent-clip,iterations=3")
    few = ("--model", "shipped-few-step", "--steps", "1", "--images", "2", "--limit", "1")
    done = latent_guard_command("bench", "geneval", metadata, *few, *methods, "--out", out)
    assert done.code == 0, done.err
    laid = sorted(path.relative_to(out / "official" / "geneval").as_posix() for path in out.glob("official/*/*/*/*/*"))
    assert laid == [
        f"{method}/00000/samples/000{image}.png"
        for method in ("00-unguarded", "01-reno_iterations_3_reward_latent_clip")
        for image in range(2)
    ]
    environment = json.loads((out / "environment.json").read_text())
    assert environment["model"].startswith("shipped-few-step@")
    assert environment["methods"]["reno(iterations=3, reward=latent-clip)"] == "reno(latent-clip, iterations=3)"


def test_a_run_of_a_method_that_needs_few_steps_is_refused_before_anything_is_made(
    latent_guard_command: Command, tmp_path: Path
) -> None:
    metadata = tmp_path / "metadata.jsonl"
    metadata.write_text('{"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat"}\n')
    done = latent_guard_command("bench", "geneval", metadata, "--method", "reno", "--out", tmp_path / "run")
    assert (done.code, "no few-step scheduler" in done.err) == (2, True)
    assert not list((tmp_path / "run").glob("images/*"))
