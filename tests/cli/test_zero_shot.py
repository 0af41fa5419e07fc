"""On the shipped world: its Latent-CLIP, pixel CLIP and pipeline, and rendered scenes of one object as the data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.training.data.shards import ShardWriter
from latent_guard.worlds.emoji.bundle import bundle_folder
from latent_guard.worlds.emoji.captions import ONE
from latent_guard.worlds.emoji.catalogue import BACKGROUNDS, BY_NAME, OBJECT_NAMES
from latent_guard.worlds.emoji.scenes import FULL, Scene, place, render

Command = Callable[..., Any]
SHOWN = OBJECT_NAMES[::2]
EACH = 2
MODELS = ("latent_clip", "pixel_clip")
FILES = {"results.json", "skipped.csv", *(f"{m}_{f}" for m in MODELS for f in ("per_class.csv", "confusion.png"))}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the world's objects, a folder each, two pictures in each."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(7)
    for name in SHOWN:
        (folder / name).mkdir()
        for number in range(EACH):
            scene = Scene(place((name,), FULL, rng), str(rng.choice(BACKGROUNDS)))
            Image.fromarray(render(scene)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All objects as classes, in the words of the world's captions."""
    path = tmp_path_factory.mktemp("classes") / "objects.yaml"
    classes = {name: BY_NAME[name].phrase for name in OBJECT_NAMES}
    templates = [text.replace("{a}", "{}") for text in ONE]
    path.write_text(yaml.safe_dump({"classes": classes, "templates": templates}, sort_keys=False))
    return path


def copy_of(folder: Path, to: Path, classes: int) -> Path:
    """A few of the folder's classes."""
    for name in sorted(path.name for path in folder.iterdir())[:classes]:
        (to / name).mkdir(parents=True)
        for picture in (folder / name).iterdir():
            (to / name / picture.name).write_bytes(picture.read_bytes())
    return to


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text())
    return content


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_rendered_objects_are_named_from_latents_as_well_as_from_pixels(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    done = latent_guard_command("zero-shot", scenes, "--classes", objects, "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert "Latent-CLIP" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    for model in MODELS:
        figures = results(tmp_path / "out")["models"][model]
        assert figures["top1"]["value"] >= 0.95
        assert figures["top5"]["value"] >= figures["top1"]["value"] >= figures["top1"]["low"] > 0.85
        assert (figures["top1"]["count"], figures["classes"]) == (EACH * len(SHOWN), len(OBJECT_NAMES))
        per_class = rows(tmp_path / "out" / f"{model}_per_class.csv")
        assert [row["class"] for row in per_class] == [BY_NAME[name].phrase for name in SHOWN]
        assert {row["images"] for row in per_class} == {str(EACH)}
        with Image.open(tmp_path / "out" / f"{model}_confusion.png") as picture:
            assert min(picture.size) > 300


def test_without_class_names_the_folders_own_are_used(
    latent_guard_command: Command, scenes: Path, tmp_path: Path
) -> None:
    few = copy_of(scenes, tmp_path / "few", 8)
    done = latent_guard_command("zero-shot", few, "--batch-size", "5", "--out", tmp_path / "out")
    assert done.code == 0
    found = results(tmp_path / "out")["models"]["latent_clip"]
    assert (found["classes"], found["top1"]["value"] >= 0.85) == (8, True)


def test_regenerated_images_are_kept_undecoded_and_classified_by_both(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    few = copy_of(scenes, tmp_path / "few", 10)
    out = tmp_path / "out"
    command = ("zero-shot", few, "--classes", objects, "--regenerate", "--steps", "12", "--batch-size", "8")
    assert latent_guard_command(*command, "--out", out).code == 0
    assert {path.name for path in out.iterdir()} == {*FILES, "regenerated"}
    first = results(out)
    assert first["regeneration"]["strength"] == 0.66
    for model in MODELS:
        assert first["models"][model]["top1"]["count"] == 20
        assert first["models"][model]["top1"]["value"] >= 0.8
    parts = sorted((out / "regenerated").iterdir())
    kept = [load_file(path)["latents"].clone() for path in parts]  # not a view of a file that is cut below
    assert [tuple(part.shape) for part in kept] == [(8, 8, 8, 8), (8, 8, 8, 8), (4, 8, 8, 8)]

    parts[1].unlink()  # killed before this one was written, and in the midst of the next
    parts[2].write_bytes(parts[2].read_bytes()[:900])
    parts[0].touch()
    untouched = parts[0].stat().st_mtime_ns
    assert latent_guard_command(*command, "--out", out).code == 0
    assert parts[0].stat().st_mtime_ns == untouched
    for path, before in zip(parts, kept, strict=True):
        assert torch.equal(load_file(path)["latents"], before)
    assert results(out)["models"] == first["models"]

    other = latent_guard_command(*command, "--strength", "0.5", "--out", out)
    assert (other.code, "made from other settings" in other.err) == (2, True)
    (next(few.iterdir()) / "9.png").write_bytes((few / "apple" / "0.png").read_bytes())
    more = latent_guard_command(*command, "--out", out)
    assert (more.code, "made from other images" in more.err) == (2, True)


def test_pictures_that_cannot_be_read_are_counted_and_listed(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    few = copy_of(scenes, tmp_path / "few", 3)
    (few / "apple" / "0.png").write_bytes(b"no picture")
    for extra in ([], ["--regenerate", "--steps", "4"]):
        out = tmp_path / f"out{len(extra)}"
        done = latent_guard_command("zero-shot", few, "--classes", objects, "--out", out, *extra)
        assert (done.code, "1 images were skipped" in done.err) == (0, True)
        assert [row["image"] for row in rows(out / "skipped.csv")] == ["apple/0.png"]
        assert results(out)["models"]["latent_clip"]["top1"]["count"] == 5


def encoded(folder: Path, scenes: Path, space: LatentSpace, caption: str) -> Path:
    from latent_guard.loading import load_vae
    from latent_guard.worlds.emoji.autoencoder import encode

    vae = load_vae(None)
    with ShardWriter(folder, space) as writer:
        for name in SHOWN:
            pixels = [np.asarray(Image.open(path)) for path in sorted((scenes / name).iterdir())]
            latents = encode(vae, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
            writer.add(latents, [[caption.format(BY_NAME[name].phrase)]] * EACH)
    return folder


WORLD = LatentSpace("AutoencoderKL", channels=8, factor=8)


def test_latent_shards_are_labelled_by_the_captions_that_name_a_class(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    shards = encoded(tmp_path / "shards", scenes, WORLD, "a picture of {}")
    done = latent_guard_command("zero-shot", shards, "--classes", objects, "--out", tmp_path / "out")
    assert done.code == 0
    for model in MODELS:  # the pixel CLIP sees them decoded
        assert results(tmp_path / "out")["models"][model]["top1"]["value"] >= 0.95
    none = latent_guard_command("zero-shot", shards, "--out", tmp_path / "none")
    assert (none.code, "--classes" in none.err) == (2, True)


def test_latents_of_several_shapes_are_named_together(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    shards = encoded(tmp_path / "shards", scenes, WORLD, "{}")
    index = read_sealed(shards / "index.json", "the index")
    whole = load_file(shards / "shard-00000.safetensors")
    wide = {"latents": whole["latents"][:4, :, :6].contiguous(), "noise_levels": whole["noise_levels"][:4]}
    save_file(wide, shards / "wide.safetensors")
    lines = (shards / "shard-00000.jsonl").read_text().splitlines()
    (shards / "wide.jsonl").write_text("\n".join([*lines[:3], '{"captions": ["something else"]}']))
    index["shards"].append({"file": "wide.safetensors", "samples": 4})
    (shards / "index.json").write_bytes(sealed(index))
    done = latent_guard_command("zero-shot", shards, "--classes", objects, "--out", tmp_path / "out")
    assert done.code == 0
    assert {figures["top1"]["count"] for figures in results(tmp_path / "out")["models"].values()} == {len(lines) + 3}
    assert [row["image"] for row in rows(tmp_path / "out" / "skipped.csv")] == ["6x8/3"]


def test_shards_that_are_not_finished_are_no_set_of_images(
    latent_guard_command: Command, objects: Path, tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "encode.json").write_text("{}")
    (tmp_path / "shards" / "00000-00000.tar").touch()
    done = latent_guard_command("zero-shot", tmp_path / "shards", "--classes", objects, "--out", tmp_path / "out")
    assert (done.code, "run the same `latent-guard encode` again" in done.err) == (2, True)


def test_latents_of_another_space_and_captions_without_a_class_are_refused(
    latent_guard_command: Command, scenes: Path, objects: Path, tmp_path: Path
) -> None:
    other = encoded(tmp_path / "other", scenes, LatentSpace("other VAE", 8, 8, scaling_factor=0.18215), "{}")
    done = latent_guard_command("zero-shot", other, "--classes", objects, "--out", tmp_path / "out")
    assert (done.code, "other VAE" in done.err, "AutoencoderKL" in done.err) == (2, True, True)
    vague = encoded(tmp_path / "vague", scenes, WORLD, "{} and more")
    done = latent_guard_command("zero-shot", vague, "--classes", objects, "--out", tmp_path / "out")
    assert (done.code, "no caption names a class" in done.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_vae_that_is_not_the_latent_clips_is_refused(
    latent_guard_command: Command, scenes: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    mixed = ("--model", tiny_bundle / "pipeline", "--guard", bundle_folder() / "guard")
    for extra in ([], ["--regenerate"]):
        done = latent_guard_command("zero-shot", scenes, *mixed, *extra, "--out", tmp_path)
        assert (done.code, "4 channels" in done.err, "8 channels" in done.err) == (2, True, True)


def test_any_clip_of_open_clip_can_be_the_pixel_clip(
    latent_guard_command: Command, scenes: Path, tmp_path: Path
) -> None:
    tower = {"width": 32, "layers": 1}
    config = {
        "embed_dim": 16,
        "vision_cfg": {**tower, "image_size": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {**tower, "context_length": 77, "vocab_size": 49408, "heads": 2},
    }
    (tmp_path / "tiny-latent-guard-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    torch.save(open_clip.create_model("tiny-latent-guard-test").state_dict(), tmp_path / "weights.pt")
    few = copy_of(scenes, tmp_path / "few", 3)
    name = f"tiny-latent-guard-test:{tmp_path / 'weights.pt'}"
    done = latent_guard_command("zero-shot", few, "--pixel-clip", name, "--out", tmp_path / "out")
    assert done.code == 0
    assert results(tmp_path / "out")["pixel_clip"] == name
    assert len(rows(tmp_path / "out" / "pixel_clip_per_class.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["absent/folder/deep"], "neither a folder"),
        (["few", "--classes", "absent.txt"], "absent.txt"),
        (["few", "--classes", "imagenet"], "1000 classes"),
        (["few", "--pixel-clip", "absent"], "--pixel-clip"),
        (["few", "--pixel-clip", "Nonesuch:openai"], "Nonesuch"),
        (["few", "--pixel-clip", bundle_folder() / "guard"], "reads latents"),
        (["few", "--guard", bundle_folder() / "pixel_twin"], "--pixel-clip"),
        (["few", "--regenerate", "--strength", "0"], "--strength"),
        (["few", "--regenerate", "--steps", "1"], "--steps"),
        (["holed"], "plum holds no image"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    latent_guard_command: Command, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str | Path], named: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    copy_of(scenes, tmp_path / "few", 3)
    (copy_of(scenes, tmp_path / "holed", 2) / "plum").mkdir()
    done = latent_guard_command("zero-shot", *arguments, "--out", tmp_path / "out")
    assert (done.code, named in done.err) == (2, True), done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
