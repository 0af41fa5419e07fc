from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.training.pixel_start import start_from

VOCABULARY, CONTEXT = 600, 16
SPACE = LatentSpace("toy VAE", channels=4, factor=8)
OPEN_CLIP: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": VOCABULARY, "width": 32, "layers": 2, "heads": 2},
}
CONFIG = LatentCLIPConfig(
    embed_dim=16,
    vision=VisionConfig(channels=4, size=8, patch_size=2, width=32, layers=2, heads=2),
    text=TextConfig(context_length=CONTEXT, vocab_size=VOCABULARY, width=32, layers=2, heads=2),
    latent_space=SPACE,
    reads_noise_level=True,
)
Registered = Callable[..., tuple[str, Any]]


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """A model that open_clip has weights of: what to call it, and the model."""
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))

    def register(vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **more: Any) -> Any:
        torch.manual_seed(1)
        towers = {
            "vision_cfg": {**OPEN_CLIP["vision_cfg"], **(vision or {})},
            "text_cfg": {**OPEN_CLIP["text_cfg"], **(text or {})},
        }
        (tmp_path / "tiny-pixel-clip.json").write_text(json.dumps({**OPEN_CLIP, **towers, **more}))
        open_clip.add_model_config(tmp_path)
        clip = open_clip.create_model("tiny-pixel-clip").eval()
        torch.save({"state_dict": clip.state_dict(), "epoch": 1}, tmp_path / "weights.pt")
        return f"tiny-pixel-clip:{tmp_path / 'weights.pt'}", clip

    return register


def new_model(config: LatentCLIPConfig = CONFIG) -> LatentCLIP:
    torch.manual_seed(2)
    return LatentCLIP(config).eval()


def token_ids() -> torch.Tensor:
    ids = torch.randint(VOCABULARY - 1, (4, CONTEXT), generator=torch.Generator().manual_seed(3))
    ids[:, 9] = VOCABULARY - 1
    return ids


@torch.no_grad()
def test_a_clip_of_open_clip_gives_all_but_the_patch_embedding(registered: Registered) -> None:
    source, clip = registered()
    model = new_model()
    drawn = model.visual.conv1.weight.clone()
    assert start_from(source, model) == ["visual.conv1.weight"]
    assert torch.equal(model.visual.conv1.weight, drawn)
    torch.testing.assert_close(model.encode_text(token_ids()), clip.encode_text(token_ids()), atol=1e-5, rtol=0)
    blocks = model.visual.transformer.state_dict()
    assert all(torch.equal(weight, blocks[name]) for name, weight in clip.visual.transformer.state_dict().items())
    assert torch.equal(model.visual.positional_embedding, clip.visual.positional_embedding)
    assert torch.equal(model.logit_scale, clip.logit_scale)


@torch.no_grad()
def test_the_image_tower_is_the_source_s_on_the_same_patches(registered: Registered) -> None:
    source, clip = registered(vision={"patch_size": 8})
    pixels = replace(
        CONFIG, vision=replace(CONFIG.vision, channels=3, size=32, patch_size=8), latent_space=PIXELS,
        reads_noise_level=False,
    )  # fmt: skip
    model = new_model(pixels)
    start_from(source, model)
    model.visual.conv1.weight.copy_(clip.visual.conv1.weight)
    pictures = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.encode_latents(pictures), clip.encode_image(pictures), atol=1e-5, rtol=0)


def test_a_model_that_open_clip_saved_in_a_folder_is_a_source_too(registered: Registered, tmp_path: Path) -> None:
    _, clip = registered(custom_text=True, init_logit_bias=-10.0)
    folder = tmp_path / "saved"
    folder.mkdir()
    torch.save(clip.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {**OPEN_CLIP, "custom_text": True, "init_logit_bias": -10.0}, "preprocess_cfg": {}})
    )
    model = new_model()
    assert start_from(f"local-dir:{folder}", model) == ["visual.conv1.weight"]
    assert torch.equal(model.text.token_embedding.weight, clip.text.token_embedding.weight)


def test_other_grids_of_patches_get_resized_positions(registered: Registered) -> None:
    source, clip = registered(vision={"image_size": 48})
    model = new_model()
    start_from(source, model)
    positions = model.visual.positional_embedding
    assert positions.shape == (1 + 16, 32)
    assert torch.equal(positions[0], clip.visual.positional_embedding[0])
    assert not torch.equal(positions[1:], clip.visual.positional_embedding[1:17])


def test_a_latent_clip_of_the_same_config_gives_everything(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = LatentCLIP(CONFIG)
    trained.save_pretrained(tmp_path, dtype=torch.float32)
    model = new_model()
    assert start_from(str(tmp_path), model) == []
    assert model.fingerprint() == trained.fingerprint()


def test_a_pixel_twin_gives_all_but_the_patch_embedding(tmp_path: Path) -> None:
    pixels = replace(
        CONFIG, vision=replace(CONFIG.vision, channels=3, size=64, patch_size=8), latent_space=PIXELS,
        reads_noise_level=False,
    )  # fmt: skip
    torch.manual_seed(5)
    twin = LatentCLIP(pixels)
    twin.save_pretrained(tmp_path, dtype=torch.float32)
    model = new_model()
    assert start_from(str(tmp_path), model) == ["visual.conv1.weight"]
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(token_ids()), twin.encode_text(token_ids()), atol=1e-5, rtol=0)
    assert model.visual.positional_embedding.shape == (1 + 16, 32)  # of 8 x 8 patches


def test_latents_of_the_same_space_at_another_size_keep_the_patch_embedding(tmp_path: Path) -> None:
    larger = LatentCLIP(replace(CONFIG, vision=replace(CONFIG.vision, size=12)))
    larger.save_pretrained(tmp_path, dtype=torch.float32)
    model = new_model()
    assert start_from(str(tmp_path), model) == []
    assert torch.equal(model.visual.conv1.weight, larger.visual.conv1.weight)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"quick_gelu": True}, "has quick_gelu true, and the recipe's model has False; write true into the recipe"),
        ({"vision": {"pool_type": "avg"}}, "image pooling avg"),
        ({"text": {"pool_type": "last"}}, "text pooling last"),
        ({"text": {"no_causal_mask": True}}, "text attention both ways"),
        ({"text": {"norm_kwargs": {"eps": 1e-6}}}, "text LayerNorm epsilon 1e-06"),
        ({"vision": {"layers": 3}}, "vision: layers 3, and the recipe's model has 2"),
        ({"vision": {"width": 48}}, "vision: width 48"),
        ({"vision": {"head_width": 8}}, "vision: heads 4"),
        ({"text": {"vocab_size": 700}}, "text: vocab_size 700"),
        ({"text": {"context_length": 77}}, "text: context_length 77"),
        ({"embed_dim": 24}, "embed_dim 24"),
        ({"vision": {"layers": [1, 1, 1, 1]}}, "ModifiedResNet"),
        ({"vision": {"mlp_ratio": 2.0}}, "c_fc.weight is (64, 32), a Latent-CLIP's (128, 32)"),
        ({"text": {"ls_init_value": 0.1}}, "ls_1.gamma"),
        ({"vision": {"no_ln_pre": True}}, "ln_pre.weight is absent"),
    ],
)
def test_what_a_latent_clip_cannot_express_is_refused_by_name(
    registered: Registered, changes: dict[str, Any], named: str
) -> None:
    source, _ = registered(**changes)
    model = new_model()
    before = model.fingerprint()
    with pytest.raises(InputError) as refused:
        start_from(source, model)
    assert named in str(refused.value)
    assert str(refused.value).startswith("init_from: ")
    assert model.fingerprint() == before


def test_weights_that_were_trained_with_quick_gelu_are_refused_under_a_plain_model_s_name(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = registered()
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"quick_gelu": True})
    with pytest.raises(InputError, match="has quick_gelu true"):
        start_from(source, new_model())


def test_sources_that_are_not_there_are_refused(registered: Registered, tmp_path: Path) -> None:
    source, _ = registered()
    with pytest.raises(InputError, match="neither the folder or hub id of a Latent-CLIP, nor open_clip's"):
        start_from(str(tmp_path / "nowhere"), new_model())
    with pytest.raises(InputError, match="open_clip has no model 'ViT-Nonesuch:openai'"):
        start_from("ViT-Nonesuch:openai", new_model())
    with pytest.raises(CheckpointError, match="check its name and file"):
        start_from("tiny-pixel-clip:nonesuch", new_model())
    with pytest.raises(CheckpointError, match="no Latent-CLIP in"):
        start_from(str(tmp_path), new_model())
    (tmp_path / "weights.pt").write_bytes((tmp_path / "weights.pt").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="check its name and file"):
        start_from(source, new_model())


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(registered: Registered, tmp_path: Path) -> None:
    source, _ = registered()
    torch.save({"state_dict": Hostile(tmp_path / "proof")}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="check its name and file"):
        start_from(source, new_model())
    assert not (tmp_path / "proof").exists()


class Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


def test_a_clip_with_quick_gelu_starts_a_model_with_it(registered: Registered) -> None:
    source, clip = registered(quick_gelu=True)
    torch.manual_seed(1)
    model = LatentCLIP(replace(CONFIG, quick_gelu=True))
    assert start_from(source, model) == ["visual.conv1.weight"]
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(token_ids()), clip.encode_text(token_ids()), atol=1e-5, rtol=0)
