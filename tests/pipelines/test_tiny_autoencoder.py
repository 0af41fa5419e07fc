"""TAEF2 and TAESana behind the interface of a VAE, and pixels in the place of latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.latent_space import PIXELS, LatentSpace
from latent_guard.loading import load_vae
from latent_guard.pipelines import vae
from latent_guard.pipelines.tiny_autoencoder import KINDS, TinyAutoencoder

TAEF2 = Path(__file__).parents[3] / "shared" / "data" / "taef2"
needs_taef2 = pytest.mark.skipif(not TAEF2.is_dir(), reason="the weights are not part of the project")


def write_tiny(folder: Path, stem: str, *, with_decoder: bool) -> Path:
    torch.manual_seed(0)
    tiny = TinyAutoencoder(KINDS[stem])
    if with_decoder and tiny.decoder is not None:
        save_file(tiny.decoder.state_dict(), folder / f"{stem}_decoder.safetensors")
    save_file(tiny.encoder.state_dict(), folder / f"{stem}_encoder.safetensors")
    return folder / f"{stem}_encoder.safetensors"


@needs_taef2
@pytest.mark.parametrize("stem", ["taef2", "taesana"])
def test_latents_are_those_of_the_reference(stem: str) -> None:
    golden = load_file(TAEF2 / "golden.safetensors")
    tiny = load_vae(str(TAEF2 / f"{stem}_encoder.safetensors"))
    with torch.no_grad():
        latents = tiny.encode(2 * golden["images_0_1"].float() - 1).latents
    torch.testing.assert_close(latents, golden[f"{stem}_latents"].float(), atol=1e-4, rtol=0)


@needs_taef2
def test_pictures_are_those_of_the_reference() -> None:
    golden = load_file(TAEF2 / "golden.safetensors")
    tiny = load_vae(str(TAEF2 / "taef2_encoder.safetensors"))
    with torch.no_grad():
        pictures = tiny.decode(golden["taef2_latents"].float()).sample
    torch.testing.assert_close((pictures + 1) / 2, golden["taef2_decoded"].float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("stem", "factor"), [("taef2", 8), ("taesana", 32)])
def test_its_latents_are_a_space_of_their_own(stem: str, factor: int, tmp_path: Path) -> None:
    tiny = load_vae(str(write_tiny(tmp_path, stem, with_decoder=False)))
    space = LatentSpace.of_vae(tiny)
    assert (space.channels, space.factor, space.scaling_factor) == (32, factor, 1.0)
    pictures = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    assert vae.encode(tiny, pictures).shape == (2, 32, 64 // factor, 96 // factor)


def test_it_decodes_where_its_decoder_lies_beside_it(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, "taef2", with_decoder=True)
    latents = torch.zeros(1, 32, 2, 3)
    assert vae.decode(load_vae(str(path)), latents).shape == (1, 3, 16, 24)
    (tmp_path / "taef2_decoder.safetensors").unlink()
    with pytest.raises(InputError, match=r"no decoder here; put its decoder\.safetensors beside"):
        load_vae(str(path)).decode(latents)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    save_file({"0.weight": torch.zeros(3)}, tmp_path / "taef2_encoder.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read as TAEF2"):
        load_vae(str(tmp_path / "taef2_encoder.safetensors"))


def test_pixels_are_a_space_too() -> None:
    pixels = load_vae("pixels")
    pictures = torch.randint(0, 256, (2, 3, 4, 6), dtype=torch.uint8)
    assert LatentSpace.of_vae(pixels) == PIXELS
    raw = vae.encode(pixels, pictures)
    assert torch.equal(vae.to_pictures(vae.decode(pixels, raw.half())), pictures)
