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
from tests.local_hub.stand_ins import GUARD, PICTURES, SDXL_TURBO, SDXL_VAE
from tests.local_hub.test_refusals import assert_refused

MARK = "ran.txt"
CODE = f"""
from pathlib import Path
Path({MARK!r}).write_text("it ran")
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
class Own(DiffusionPipeline): pass
class OwnUNet(UNet2DConditionModel): pass
class OwnVae(AutoencoderKL): pass
"""
ENORMOUS = 10**12


def change(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def own_pipeline(folder: Path) -> None:
    for name in ("own.py", "pipeline.py"):
        (folder / name).write_text(CODE)
    change(folder / "model_index.json", _class_name=["own", "Own"])


def own_unet(folder: Path) -> None:
    (folder / "unet" / "own.py").write_text(CODE)
    change(folder / "model_index.json", unet=["own", "OwnUNet"])


def own_vae(folder: Path) -> None:
    (folder / "own.py").write_text(CODE)
    change(folder / "config.json", auto_map={"AutoModel": "own.OwnVae"})


def unknown_library(folder: Path) -> None:
    change(folder / "model_index.json", unet=["antigravity", "UNet"])


def unknown_class(folder: Path) -> None:
    change(folder / "model_index.json", unet=["diffusers", "UNet9DModel"])


def unknown_pipeline(folder: Path) -> None:
    change(folder / "model_index.json", _class_name="StableDiffusionXXXPipeline")


def enormous_unet(folder: Path) -> None:
    change(folder / "unet" / "config.json", cross_attention_dim=ENORMOUS)


def enormous_vae(folder: Path) -> None:
    change(folder / "config.json", latent_channels=ENORMOUS)


def enormous_guard(folder: Path) -> None:
    vision = json.loads((folder / "config.json").read_text())["vision"]
    change(folder / "config.json", vision={**vision, "width": ENORMOUS})
    (folder / "manifest.json").unlink()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "diffusion_pytorch_model.bin")
    for path in folder.glob("*.safetensors"):
        path.unlink()


def pickled_unet(folder: Path) -> None:
    pickled(folder / "unet")


def pickle_by_another_name(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "beside")
    (folder / "beside").replace(folder / "model.safetensors")
    (folder / "manifest.json").unlink()


def no_guard(folder: Path) -> None:
    (folder / "config.json").unlink()


HARMS: list[tuple[str, Callable[[Path], None], str]] = [
    (SDXL_TURBO, own_pipeline, "model_index.json asks for a pipeline of its own code (['own', 'Own']), which is never"),
    (SDXL_TURBO, own_unet, "unet is made by 'own', and only parts of diffusers and transformers are"),
    (SDXL_TURBO, unknown_library, "unet is made by 'antigravity'"),
    (SDXL_TURBO, unknown_class, "UNet9DModel"),
    (SDXL_TURBO, unknown_pipeline, "StableDiffusionXXXPipeline"),
    (SDXL_TURBO, enormous_unet, "unet/config.json: cross_attention_dim must be a whole number"),
    (SDXL_TURBO, pickled_unet, "safetensors"),
    (SDXL_VAE, own_vae, "config.json asks for code of its own"),
    (SDXL_VAE, enormous_vae, "config.json: latent_channels must be a whole number"),
    (SDXL_VAE, pickled, "safetensors"),
    (GUARD, enormous_guard, "width"),
    (GUARD, pickle_by_another_name, "model.safetensors"),
    (GUARD, no_guard, "on the hub holds no config.json, so it is no Latent-CLIP"),
]


def command_of(copied: str, hub_id: str) -> tuple[str, ...]:
    if copied == SDXL_VAE:
        return ("encode", PICTURES, "shards", "--vae", hub_id)
    model, guard = (hub_id, GUARD) if copied == SDXL_TURBO else (SDXL_TURBO, hub_id)
    return ("generate", "a cat", "--safe", "--model", model, "--guard", guard, "--steps", "1", "--out", "out")


@pytest.mark.slow
def test_a_repository_that_asks_for_too_much_is_refused_in_a_line(shell: Shell, hub: Hub) -> None:
    commands = []
    for copied, harm, _ in HARMS:
        harm(Path(shutil.copytree(hub.root / copied, hub.root / "evil" / harm.__name__)))
        commands.append(command_of(copied, f"evil/{harm.__name__}"))
    for finished, (_, _, told) in zip(shell.run_each(commands), HARMS, strict=True):
        assert_refused(finished, shell, told)
    assert not list(shell.folder.parent.rglob(MARK))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bank/../../../../../../escaped.json", "bank//tmp/escaped.json"])
def test_a_name_that_leads_out_of_a_repository_writes_nothing_there(shell: Shell, hub: Hub, name: str) -> None:
    hub.listed[GUARD] = [name]
    (hub.root / "me" / "escaped.json").write_text("{}")
    assert_refused(shell.run(*command_of(GUARD, GUARD)), shell, GUARD)
    own = {hub.root, shell.folder.parent / "home" / "hub" / "models--me--guard"}  # the cache marks what is not there
    assert not [path for path in shell.folder.parent.rglob("escaped.json") if own.isdisjoint(path.parents)]
    assert not Path("/tmp/escaped.json").exists()
