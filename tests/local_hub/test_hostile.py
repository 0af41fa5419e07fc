"""Repositories made to harm: nothing of theirs is run, and nothing lands outside of the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.local_hub.commands import Shell
from tests.local_hub.repositories import Hub
from tests.local_hub.stand_ins import GUARD, SDXL_TURBO, SDXL_VAE
from tests.local_hub.test_refusals import GENERATE, assert_refused

MARK = "ran.txt"
CODE = f"""
from pathlib import Path
Path({MARK!r}).write_text("it ran")
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
class Own(DiffusionPipeline): pass
class OwnUNet(UNet2DConditionModel): pass
class OwnVae(AutoencoderKL): pass
"""


def change(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def own_pipeline(root: Path) -> None:
    (root / SDXL_TURBO / "own.py").write_text(CODE)
    (root / SDXL_TURBO / "pipeline.py").write_text(CODE)
    change(root / SDXL_TURBO / "model_index.json", _class_name=["own", "Own"])


def own_unet(root: Path) -> None:
    (root / SDXL_TURBO / "unet" / "own.py").write_text(CODE)
    change(root / SDXL_TURBO / "model_index.json", unet=["own", "OwnUNet"])


def own_vae(root: Path) -> None:
    (root / SDXL_VAE / "own.py").write_text(CODE)
    change(root / SDXL_VAE / "config.json", auto_map={"AutoModel": "own.OwnVae"})


def unknown_library(root: Path) -> None:
    change(root / SDXL_TURBO / "model_index.json", unet=["antigravity", "UNet"])


def unknown_class(root: Path) -> None:
    change(root / SDXL_TURBO / "model_index.json", unet=["diffusers", "UNet9DModel"])


def unknown_pipeline(root: Path) -> None:
    change(root / SDXL_TURBO / "model_index.json", _class_name="StableDiffusionXXXPipeline")


def absurd_pipeline(root: Path) -> None:
    change(root / SDXL_TURBO / "unet" / "config.json", cross_attention_dim=10**12)


def absurd_vae(root: Path) -> None:
    change(root / SDXL_VAE / "config.json", latent_channels=10**12)


def absurd_guard(root: Path) -> None:
    config = json.loads((root / GUARD / "config.json").read_text())
    config["vision"]["width"] = 10**12
    (root / GUARD / "manifest.json").unlink()
    (root / GUARD / "config.json").write_text(json.dumps(config))


def pickled(folder: Path, name: str, pickle: str) -> None:
    torch.save(load_file(folder / f"{name}.safetensors"), folder / pickle)
    for path in folder.glob("*.safetensors"):
        path.unlink()


def pickled_pipeline(root: Path) -> None:
    folder = root / SDXL_TURBO / "unet"
    pickled(folder, "diffusion_pytorch_model", "diffusion_pytorch_model.bin")


def pickled_vae(root: Path) -> None:
    pickled(root / SDXL_VAE, "diffusion_pytorch_model", "diffusion_pytorch_model.bin")


def pickle_by_another_name(root: Path) -> None:
    folder = root / GUARD
    torch.save(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    (folder / "manifest.json").unlink()


def no_guard(root: Path) -> None:
    shutil.rmtree(root / GUARD)
    shutil.copytree(root / SDXL_TURBO, root / GUARD)


ENCODE = ("encode", "me/pictures", "shards", "--vae", SDXL_VAE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "command", "told"),
    [
        (own_pipeline, GENERATE, "model_index.json asks for a pipeline of its own code"),
        (own_unet, GENERATE, "unet is made by 'own', and only parts of diffusers and transformers are"),
        (own_vae, ENCODE, "config.json asks for code of its own"),
        (unknown_library, GENERATE, "unet is made by 'antigravity'"),
        (unknown_class, GENERATE, "UNet9DModel"),
        (unknown_pipeline, GENERATE, "StableDiffusionXXXPipeline"),
        (absurd_pipeline, GENERATE, "unet/config.json: cross_attention_dim must be a whole number"),
        (absurd_vae, ENCODE, "config.json: latent_channels must be a whole number"),
        (absurd_guard, GENERATE, "width"),
        (pickled_pipeline, GENERATE, "safetensors"),
        (pickled_vae, ENCODE, "safetensors"),
        (pickle_by_another_name, GENERATE, "model.safetensors"),
        (no_guard, GENERATE, "me/guard on the hub holds no config.json, so it is no Latent-CLIP"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_repository_that_asks_for_too_much_is_refused_in_a_line(
    shell: Shell, hub: Hub, harm: Callable[[Path], None], command: tuple[str, ...], told: str
) -> None:
    harm(hub.root)
    assert_refused(shell.run(*command), shell, told)
    assert not list(shell.folder.parent.rglob(MARK))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bank/../../../../../../escaped.json", "bank//tmp/escaped.json"])
def test_a_name_that_leads_out_of_a_repository_writes_nothing_there(shell: Shell, hub: Hub, name: str) -> None:
    hub.listed[GUARD] = [name]
    (hub.root / "me" / "escaped.json").write_text("{}")
    assert_refused(shell.run(*GENERATE), shell, GUARD)
    assert not [path for path in shell.folder.parent.rglob("escaped.json") if hub.root not in path.parents]
    assert not Path("/tmp/escaped.json").exists()
