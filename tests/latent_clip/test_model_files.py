from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from latent_guard.errors import CheckpointError
from latent_guard.latent_clip.model import LatentCLIP

LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
TEXTS = ["a kitchen knife", "añ 💣"]


@pytest.fixture(scope="module")
def saved(tiny_model: LatentCLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny_model.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """One without a manifest, as of earlier versions, so that every file's own reader is asked."""
    return shutil.copytree(saved, tmp_path / "copy", ignore=shutil.ignore_patterns("manifest.json"))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        LatentCLIP.from_pretrained(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@torch.no_grad()
def test_float32_comes_back_exactly(tiny_model: LatentCLIP, tmp_path: Path):
    tiny_model.save_pretrained(tmp_path / "new", dtype=torch.float32)
    back = LatentCLIP.from_pretrained(tmp_path / "new")
    assert torch.equal(back.encode_latents(LATENTS, 0.5), tiny_model.encode_latents(LATENTS, 0.5))
    assert torch.equal(back.encode_text(TEXTS), tiny_model.encode_text(TEXTS))
    assert back.config == tiny_model.config


@torch.no_grad()
def test_float16_comes_back_closely_in_half_the_space(tiny_model: LatentCLIP, saved: Path):
    back = LatentCLIP.from_pretrained(saved)
    assert back.logit_scale.dtype == torch.float32
    torch.testing.assert_close(back.encode_latents(LATENTS), tiny_model.encode_latents(LATENTS), atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(back.encode_text(TEXTS), tiny_model.encode_text(TEXTS), atol=1e-2, rtol=1e-2)
    weights = sum(weight.numel() for weight in tiny_model.state_dict().values())
    assert (saved / "model.safetensors").stat().st_size < 2 * weights + 10_000


def test_the_fingerprint_survives_saving_in_half_precision(tiny_model: LatentCLIP, saved: Path):
    assert LatentCLIP.from_pretrained(saved).fingerprint() == tiny_model.fingerprint()
    assert LatentCLIP.from_pretrained(saved, dtype=torch.float16).fingerprint() == tiny_model.fingerprint()


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated_weights_are_refused(copy: Path, keep: int):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "corrupt or truncated" in refusal(copy)


def test_weights_that_are_not_finite_are_refused(copy: Path):
    tensors = load_file(copy / "model.safetensors")
    tensors["visual.proj"][0, 0] = torch.nan
    save_file(tensors, copy / "model.safetensors")
    assert "visual.proj is not finite" in refusal(copy)


def test_weights_of_another_config_are_refused(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config["vision"]["layers"] = 2
    (copy / "config.json").write_text(json.dumps(config))
    assert "does not fit its config.json" in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer/tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    assert Path(name).name in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer/tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_corrupt_file_is_named(copy: Path, name: str, content: bytes):
    (copy / name).write_bytes(content)
    assert Path(name).parts[0] in refusal(copy)


def test_a_tokenizer_of_another_context_is_refused(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    config["text"]["context_length"] = 8
    (copy / "config.json").write_text(json.dumps(config))
    assert "a context of 16" in refusal(copy)


def test_a_folder_that_is_not_there_is_never_looked_for_online(tmp_path: Path):
    assert "no Latent-CLIP in" in refusal(tmp_path / "openai" / "clip")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("vision", "width", 16_384),
        ("vision", "layers", 128),
        ("text", "layers", 128),
        ("text", "width", 16_384),
        ("vision", "size", 4_096),
    ],
)
def test_a_config_is_compared_with_the_weights_before_memory_is_taken(copy: Path, part: str, key: str, value: int):
    config = json.loads((copy / "config.json").read_text())
    config[part][key] = value
    (copy / "config.json").write_text(json.dumps(config))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "does not fit its config.json" in refusal(copy)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB; the model would have GiB


def test_nothing_of_a_loaded_model_is_left_without_memory(saved: Path):
    back = LatentCLIP.from_pretrained(saved)
    assert not any(tensor.is_meta for tensor in (*back.parameters(), *back.buffers()))
