"""Every command with nothing but ids: the command line and the hub's client as they are, the models small."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.verdict import Verdict
from latent_guard.latent_clip.model import LatentCLIP
from tests.local_hub.commands import Finished, Shell
from tests.local_hub.repositories import OWNER, Hub
from tests.local_hub.stand_ins import (
    CLASSIFIER,
    FLUX,
    GUARD,
    OPEN_CLIP,
    PICTURES,
    PIXEL_CLIP,
    PROMPTS,
    SDXL_TURBO,
    SDXL_VAE,
    SMALL_PUBLISHED,
)
from tests.pipelines.families.modular import FAMILIES

OF_TURBO = ("--model", SDXL_TURBO, "--guard", GUARD)
SPEC = {
    "name": "of the hub",
    "model": SDXL_TURBO,
    "judge": CLASSIFIER,
    "steps": 1,
    "batch_size": 2,
    "tasks": {"unsafe": {"prompts": PROMPTS, "images": 2}},
    "methods": ["unguarded", "guard"],
}
RECIPE = {
    "model": {
        "embed_dim": 16,
        "vision": {"patch_size": 4, "width": 16, "layers": 1, "heads": 2},
        "text": {"context_length": 77, "width": 16, "layers": 1, "heads": 2},
    },
    "steps": 2,
    "batch_size": 4,
    "learning_rate": 1e-3,
}


def done(finished: Finished) -> Finished:
    assert finished.code == 0, finished.err
    return finished


def test_a_guarded_picture_takes_two_ids(shell: Shell, hub: Hub) -> None:
    done(shell.run("generate", "a cat", "--safe", *OF_TURBO, "--steps", 1, "--out", "out"))
    assert Verdict.from_json((shell.folder / "out" / "000.json").read_text()).image == 0
    assert json.loads((shell.folder / "out" / "run.json").read_text())["model"] == SDXL_TURBO
    given = [line for line in hub.asked if line.startswith("GET") and "/resolve/" in line]
    assert not [line for line in given if line.endswith((".fp16.safetensors", ".onnx", "turbo_1.0.safetensors"))]


@pytest.mark.slow
def test_a_modular_pipeline_is_looked_at_by_its_id_and_none_of_its_code_is_fetched(shell: Shell, hub: Hub) -> None:
    own = next(tiny for tiny in FAMILIES if tiny.name == "ZImageModularPipeline").pipeline()
    folder = hub.root / "modular" / "z-image"
    own.save_pretrained(str(folder))
    (folder / "block.py").write_text("raise SystemExit('this code ran')")
    index = json.loads((folder / "modular_model_index.json").read_text())
    for part in index.values():
        if isinstance(part, list):
            part[2]["pretrained_model_name_or_path"] = "modular/z-image"
    (folder / "modular_model_index.json").write_text(json.dumps(index))
    out = done(shell.run("doctor", "modular/z-image", "--no-dry-run")).out
    assert "ZImageModularPipeline" in out
    assert "steps and decoder" in out
    assert not [line for line in hub.asked if line.endswith(".py")]


@pytest.mark.slow
def test_pictures_are_checked_classified_and_encoded_by_ids(shell: Shell) -> None:
    shell.folder.mkdir()
    (shell.folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    commands = [
        ("generate", "a cat", "--model", SDXL_TURBO, "--steps", 1, "--out", "pictures"),
        ("check", "pictures/000.png", *OF_TURBO, "--format", "jsonl"),
        ("zero-shot", PICTURES, *OF_TURBO, "--pixel-clip", PIXEL_CLIP, "--out", "ours"),
        ("zero-shot", PICTURES, *OF_TURBO, "--pixel-clip", f"hf-hub:{OPEN_CLIP}", "--out", "open_clip"),
        ("encode", PICTURES, "shards", "--vae", SDXL_VAE, "--tokenizer", GUARD),
        ("train", "recipe.yaml", "--data", "shards", "--out", "model", "--init-from", GUARD),
    ]
    checked = [done(finished) for finished in shell.run_each(commands)][1]
    assert "violence" in json.loads(checked.out.splitlines()[0])["scores"]
    for folder, pixel_clip in (("ours", PIXEL_CLIP), ("open_clip", f"hf-hub:{OPEN_CLIP}")):
        (record,) = (shell.folder / folder).glob("*.json")
        assert json.loads(record.read_text())["pixel_clip"] == pixel_clip
    assert (shell.folder / "shards" / "canary.safetensors").is_file()
    assert json.loads((shell.folder / "model" / "training.json").read_text())["recipe"]["init_from"] == GUARD
    assert LatentCLIP.from_pretrained(shell.folder / "model").config.pixels == 64


@pytest.mark.slow
def test_a_published_checkpoint_becomes_a_guard_by_ids(shell: Shell) -> None:
    converted = ("--model", SDXL_TURBO, "--guard", "guard")
    commands = [
        ("convert", SMALL_PUBLISHED, "guard", "--vae", SDXL_TURBO),
        ("concepts", "build", "i2p", *converted, "--out", "guard/bank"),
        ("generate", "a cat", "--safe", *converted, "--steps", 1, "--out", "out"),
        ("concepts", "build", PROMPTS, "i2p", *OF_TURBO, "--out", "bank"),
        ("reno", "a cat", *OF_TURBO, "--iterations", 1, "--reward", "pixel-clip", "--pixel-clip", PIXEL_CLIP),
        ("adapt", GUARD, PICTURES, "adapted", "--vae", FLUX, "--from-vae", SDXL_VAE, "--images", 24),
    ]
    for finished in shell.run_each(commands):
        done(finished)
    assert "a knife and 0 forks" in {concept.prompt for concept in ConceptBank.load(shell.folder / "bank").concepts}
    adapted = LatentCLIP.from_pretrained(shell.folder / "adapted").config
    assert (adapted.latent_space.scaling_factor, adapted.adapter is None) == (0.36, False)


@pytest.mark.slow
def test_a_spec_names_model_judge_and_prompts_by_ids_and_finds_the_guard_of_that_model(shell: Shell, hub: Hub) -> None:
    shell.folder.mkdir()
    shutil.copytree(hub.root / GUARD, shell.folder.parent / "home" / "guards" / SDXL_TURBO.replace("/", "--"))
    (shell.folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    done(shell.run("bench", "run", "spec.yaml", "--out", "run"))
    told = "".join((shell.folder / "run" / name).read_text() for name in ("summary.json", "environment.json"))
    for identity in (SDXL_TURBO, f"classifier: {CLASSIFIER}@"):
        assert identity in told


@pytest.mark.slow
def test_a_fit_starts_from_ids(shell: Shell) -> None:
    fit = ("fit", SDXL_TURBO, "--steps", 1, "--set", "guidance_scale=0.0", "--dry-run")
    for base in (SMALL_PUBLISHED, GUARD):
        (finished,) = shell.run_each([(*fit, "--latent-clip", base)])
        assert "1000 images would be recorded" in done(finished).out


@pytest.mark.slow
def test_a_guard_is_fitted_published_and_used_by_ids(shell: Shell) -> None:
    fit = ("fit", SDXL_TURBO, "--latent-clip", GUARD, "--images", 60, "--rate", 0.2, "--steps", 1)
    use = ("generate", "a cat", "--safe", "--model", SDXL_TURBO)
    commands = [
        (*fit, "--set", "guidance_scale=0.0", "--push-to-hub", "me/turbo-guard"),
        (*use, "--out", "found"),
        (*use, "--guard", "me/turbo-guard", "--out", "fetched"),
    ]
    made, *drawn = replace(shell, token=OWNER).run_each(commands)
    assert "benign images touched" in done(made).out
    for finished in drawn:
        assert finished.code in (0, 3), finished.err
        assert "fitted for" not in finished.err  # it is used as it was fitted
    found, fetched = (json.loads((shell.folder / name / "run.json").read_text()) for name in ("found", "fetched"))
    assert found["files"]["000.png"] == fetched["files"]["000.png"]
    assert {**found, "files": None} == {**fetched, "files": None}
    assert found["num_inference_steps"] == 1
