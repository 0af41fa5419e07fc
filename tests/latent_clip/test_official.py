"""The golden folders hold a random checkpoint in the authors' format, with inputs and outputs of their own code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from latent_guard.errors import CheckpointError, InputError
from latent_guard.hub_ids import is_hub_id
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.official_config import read_official_config
from latent_guard.latent_clip.presets import HUB_IDS, PRESETS

SMALL = Path(__file__).parent / "golden_small"
LARGER = Path(__file__).parents[3] / "shared" / "data" / "latent_clip_golden"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(SMALL, tmp_path / "copy")


def rewrite(folder: Path, change) -> None:
    """Save a checkpoint again with its state dict changed, or with another content altogether."""
    from latent_guard.latent_clip.unpickling import restricted_load

    content = restricted_load(folder / "epoch_34.pt")
    content = change(content) or content
    (folder / "epoch_34.pt").unlink()
    torch.save(content, folder / "epoch_34.pt")


@pytest.mark.parametrize("golden", [SMALL, LARGER], ids=["small", "larger"])
@torch.no_grad()
def test_the_outputs_are_those_of_the_authors_implementation(golden: Path):
    if not golden.is_dir():
        pytest.skip("this golden folder is not part of the project")
    expected = load_file(golden / "expected.safetensors")
    model = LatentCLIP.from_official(golden)
    images, texts = model.encode_latents(expected["latents"]), model.encode_text(expected["tokens"])
    torch.testing.assert_close(images, expected["image_features"], atol=1e-5, rtol=0)
    torch.testing.assert_close(texts, expected["text_features"], atol=1e-5, rtol=0)
    unit = torch.nn.functional.normalize
    logits = model.logit_scale.exp() * unit(images, dim=-1) @ unit(texts, dim=-1).T
    torch.testing.assert_close(logits, expected["logits"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_saved_as_safetensors_it_still_gives_the_same(tmp_path: Path):
    expected = load_file(SMALL / "expected.safetensors")
    LatentCLIP.from_official(SMALL / "epoch_34.pt").save_pretrained(tmp_path, dtype=torch.float32)
    model = LatentCLIP.from_pretrained(tmp_path)
    images = model.encode_latents(expected["latents"])
    torch.testing.assert_close(images, expected["image_features"], atol=1e-5, rtol=0)


def test_it_says_that_it_reads_sdxl_latents_and_no_noise_level():
    config = LatentCLIP.from_official(SMALL).config
    assert str(config.latent_space).startswith("SDXL (4 channels")
    assert not config.reads_noise_level


def test_its_own_tokenizer_ends_a_text_where_the_authors_does():
    tokens = load_file(SMALL / "expected.safetensors")["tokens"]
    model = LatentCLIP.from_official(SMALL)
    assert len(model.tokenizer) - 1 == tokens.max()
    assert model.encode_text(["a cat"]).shape == (1, 12)


def test_the_weights_of_a_single_process_run_have_no_prefix_and_are_read_too(copy: Path):
    def strip(content):
        content["state_dict"] = {name.removeprefix("module."): w for name, w in content["state_dict"].items()}

    rewrite(copy, strip)
    assert LatentCLIP.from_official(copy).fingerprint() == LatentCLIP.from_official(SMALL).fingerprint()


class Evil:
    def __init__(self, call, *arguments) -> None:
        self.call = call, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["state_dict", "optimizer", "whole", "legacy"])
def test_a_hostile_pickle_is_refused_without_running_it(copy: Path, tmp_path: Path, place: str):
    trap = tmp_path / "it ran"
    evil = Evil(os.mkdir, str(trap))
    if place == "legacy":
        torch.save({"state_dict": evil}, copy / "epoch_34.pt", _use_new_zipfile_serialization=False)
    else:
        rewrite(copy, lambda content: evil if place == "whole" else content | {place: evil})
    with pytest.raises(CheckpointError) as caught:
        LatentCLIP.from_official(copy)
    assert not trap.exists()
    assert "\n" not in str(caught.value)
    if place != "legacy":
        assert "mkdir" in str(caught.value)


@pytest.mark.parametrize("call", [(eval, "1"), (getattr, "a", "upper"), (torch.load, "x"), (shutil.rmtree, "x")])
def test_no_other_function_can_be_named(copy: Path, call):
    rewrite(copy, lambda content: content | {"epoch": Evil(*call)})
    with pytest.raises(CheckpointError, match=rf"refused and nothing in it was run: it names \S*{call[0].__name__}"):
        LatentCLIP.from_official(copy)


def test_weights_of_another_shape_are_refused_naming_both(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config["vision_cfg"]["width"] = 24
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"visual\.class_embedding is \(16,\) in the checkpoint and \(24,\) by"):
        LatentCLIP.from_official(copy)
    with pytest.raises(CheckpointError, match=r"is \(16,\) in the checkpoint and \(768,\) by the config; give one of"):
        LatentCLIP.from_official(copy, "latent-vit-b-8")


@pytest.mark.parametrize("layers", [1, 3])
def test_weights_of_another_depth_are_refused_naming_the_layer(copy: Path, layers: int):
    config = json.loads((copy / "config.json").read_text())
    config["vision_cfg"]["layers"] = layers
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"visual\.transformer\.resblocks\.\d\.\S+ is .*absent"):
        LatentCLIP.from_official(copy)


def test_a_pixel_clip_is_refused(copy: Path):
    def pixel(content):
        content["state_dict"] = {"module.visual.conv1.weight": torch.zeros(4, 3, 2, 2)}

    rewrite(copy, pixel)
    with pytest.raises(CheckpointError, match="is it a pixel CLIP"):
        LatentCLIP.from_official(copy)


@pytest.mark.parametrize("content", [[], {"state_dict": 3}, {"state_dict": {"a": "b"}}, {}])
def test_a_file_without_a_state_dict_is_refused(copy: Path, content):
    (copy / "epoch_34.pt").unlink()
    torch.save(content, copy / "epoch_34.pt")
    with pytest.raises(CheckpointError, match="no state_dict"):
        LatentCLIP.from_official(copy)


@pytest.mark.parametrize("keep", [0, 5, 20_000, 170_000])
def test_a_truncated_file_is_refused(copy: Path, keep: int):
    file = copy / "epoch_34.pt"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="truncated"):
        LatentCLIP.from_official(copy)


def test_weights_that_are_not_finite_are_refused(copy: Path):
    def spoil(content):
        content["state_dict"]["module.visual.latent_vit.proj"] = torch.full((16, 12), torch.inf)

    rewrite(copy, spoil)
    with pytest.raises(CheckpointError, match=r"visual\.proj is not finite"):
        LatentCLIP.from_official(copy)


def test_a_missing_file_is_named_with_what_to_give(tmp_path: Path):
    for place in (tmp_path / "epoch_34.pt", tmp_path, "runs/epoch_34.pt"):
        with pytest.raises(CheckpointError, match=r"no checkpoint at .*: give epoch_34\.pt, its folder, or a hub id"):
            LatentCLIP.from_official(place)


def test_without_a_config_the_presets_are_named(copy: Path):
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"give one of latent-vit-b-8, latent-vit-b-4-plus"):
        LatentCLIP.from_official(copy)
    assert LatentCLIP.from_official(copy, SMALL / "config.json").config == LatentCLIP.from_official(SMALL).config
    with pytest.raises(InputError, match="there is no config nonesuch"):
        LatentCLIP.from_official(copy, "nonesuch")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("vision_cfg", "pool_type"), "avg", "unknown key 'pool_type'"),
        (("vision_cfg", "latent_encoder_name"), "someone/vae", "'someone/vae', whose latent space is not known"),
        (("vision_cfg", "head_width"), 5, "not a multiple of head_width 5"),
        (("vision_cfg", "latent_factor"), 7, "not a multiple of 7"),
        (("vision_cfg", "latent_n_channels"), 16, r"channels is 16, but latents of \S+ have 4"),
        (("text_cfg",), 3, "must be keys and values"),
    ],
)
def test_a_config_that_is_not_one_of_theirs_is_refused_by_the_key(copy: Path, path, value, message: str):
    config = json.loads((copy / "config.json").read_text())
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=message) as caught:
        LatentCLIP.from_official(copy)
    assert "config.json" in str(caught.value)


def test_a_hub_id_is_downloaded_and_knows_its_preset(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def hf_hub_download(hub_id: str, file: str) -> str:
        asked.append((hub_id, file))
        return str(SMALL / Path(file).name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    for hub_id, preset in HUB_IDS.items():
        with pytest.raises(CheckpointError, match=rf"and \({PRESETS[preset].vision.width},\) by the config"):
            LatentCLIP.from_official(hub_id)  # a stand-in: the published files have hundreds of megabytes
    assert LatentCLIP.from_official("someone/other", SMALL / "config.json").config.embed_dim == 12
    assert asked == [(hub_id, "checkpoints/epoch_34.pt") for hub_id in [*HUB_IDS, "someone/other"]]


def test_a_download_that_fails_says_what_to_check(monkeypatch: pytest.MonkeyPatch):
    def hf_hub_download(hub_id: str, file: str) -> str:
        raise OSError("no\nconnection")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    with pytest.raises(CheckpointError, match=r"check the id and the connection \(no connection\)"):
        LatentCLIP.from_official("someone/other")
    assert not is_hub_id(Path("someone/other"))


def test_the_presets_have_the_towers_of_open_clips_base_models():
    import open_clip

    vision = open_clip.get_model_config("ViT-B-16")["vision_cfg"]  # of both: the plus only has smaller patches
    for preset, name in (("latent-vit-b-8", "ViT-B-16"), ("latent-vit-b-4-plus", "ViT-B-16-plus")):
        ours, theirs = PRESETS[preset], open_clip.get_model_config(name)
        assert dataclasses.asdict(ours.text) == theirs["text_cfg"]
        assert ours.embed_dim == theirs["embed_dim"]
        assert (ours.vision.width, ours.vision.layers) == (vision["width"], vision["layers"])
        assert ours.vision.width // ours.vision.heads == open_clip.CLIPVisionCfg().head_width


def test_the_config_beside_the_fixture_is_the_authors():
    assert read_official_config(SMALL / "config.json").vision.size == 64


def test_a_config_with_quick_gelu_is_read(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "quick_gelu": True}))
    quick, exact = LatentCLIP.from_official(copy), LatentCLIP.from_official(SMALL)
    assert quick.config.quick_gelu
    assert LatentCLIPConfig.from_dict(quick.config.to_dict()) == quick.config
    assert "quick_gelu" not in exact.config.to_dict()
    assert not torch.equal(quick.encode_text(["a cat"]), exact.encode_text(["a cat"]))
