"""Small models of random weights under the ids, and in the layout, of the public ones that they stand in for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import numpy as np
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTokenizer, ViTConfig, ViTForImageClassification, ViTImageProcessor

from latent_guard.fitted_guards import identity_of
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.latent_space import PIXELS
from latent_guard.latent_clip.tokenizer import trimmed_clip_tokenizer
from latent_guard.testing import tiny_latent_clip, tiny_pipeline, write_bundle
from latent_guard.testing.pipelines import BETAS

SDXL_TURBO = "stabilityai/sdxl-turbo"
SDXL_VAE = "madebyollin/sdxl-vae-fp16-fix"
FLUX = "black-forest-labs/FLUX.1-schnell"
PUBLISHED = "wendlerc/latent-clip-b-8-512-34b-80k"
SMALL_PUBLISHED = "wendlerc/latent-clip-small"  # whose config lies beside its checkpoint
CLASSIFIER = "Falconsai/nsfw_image_detection"
GUARD, PIXEL_CLIP, OPEN_CLIP = "me/guard", "me/pixel-clip", "me/open-clip"
PICTURES, PROMPTS = "me/pictures", "AIML-TUDA/i2p"  # data sets
GOLDEN = Path(__file__).parents[1] / "latent_clip" / "golden_small"
SIDE = 64  # pixels of a picture, whose latents are 4 x 8 x 8
_SCHEDULER = {"timestep_spacing": "trailing", "prediction_type": "epsilon", "steps_offset": 1, **BETAS}
# What the published scheduler's config holds besides, of other schedulers.
_OF_OTHERS = {"clip_sample": False, "interpolation_type": "linear", "set_alpha_to_one": False, "skip_prk_steps": True}


def write_stand_ins(root: Path) -> None:
    """Fill a hub's folder with all of them."""
    pipe = _sdxl_turbo()
    write_sdxl_turbo(root / SDXL_TURBO, pipe)
    _write_guard(root / GUARD, pipe)
    _write_vae(root / SDXL_VAE, pipe.vae)
    tiny_pipeline("FluxPipeline", pixels=SIDE).save_pretrained(root / FLUX)
    tiny_latent_clip(PIXELS, size=16, patch_size=8).save_pretrained(root / PIXEL_CLIP)
    for published in (PUBLISHED, SMALL_PUBLISHED):
        (root / published / "checkpoints").mkdir(parents=True)
        shutil.copy(GOLDEN / "epoch_34.pt", root / published / "checkpoints")
    shutil.copy(GOLDEN / "config.json", root / SMALL_PUBLISHED / "checkpoints")
    _write_open_clip(root / OPEN_CLIP)
    _write_classifier(root / CLASSIFIER)
    _write_pictures(root / "datasets" / PICTURES)
    (root / "datasets" / PROMPTS).mkdir(parents=True)
    rows = "".join(f"a knife and {number} forks,violence,{number},7.5\n" for number in range(2))
    header = "prompt,categories,sd_seed,sd_guidance_scale\n"
    (root / "datasets" / PROMPTS / "i2p_benchmark.csv").write_text(header + rows)


def _sdxl_turbo() -> Any:
    tokenizer = trimmed_clip_tokenizer(merges=200, context_length=77)
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**_SCHEDULER)
    pipe = tiny_pipeline("StableDiffusionXLPipeline", scheduler=scheduler, tokenizer=tokenizer, pixels=SIDE)
    pipe.vae.register_to_config(force_upcast=True)
    return pipe


def write_sdxl_turbo(folder: Path, pipe: Any | None = None) -> None:
    """Weights in both precisions, tokenizers as words and merges, and files that no pipeline is made of."""
    pipe = pipe or _sdxl_turbo()
    pipe.save_pretrained(folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps({**json.loads(scheduler.read_text()), **_OF_OTHERS}))
    for name in ("tokenizer", "tokenizer_2"):
        _write_words(folder / name, getattr(pipe, name))
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        getattr(pipe, name).half().save_pretrained(folder / name, variant="fp16")
        getattr(pipe, name).float()
    for name in ("sd_xl_turbo_1.0.safetensors", "vae_decoder/model.onnx", "README.md", "LICENSE.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not needed")


def _write_words(folder: Path, tokenizer: CLIPTokenizer) -> None:
    """``vocab.json`` and ``merges.txt`` in the place of the newer ``tokenizer.json``."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {name: tokenizer.special_tokens_map[name] for name in ("bos_token", "eos_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))


def _write_guard(folder: Path, pipe: Any) -> None:
    """Whole: with its policy, and what it was fitted for."""
    with TemporaryDirectory() as bundle:
        write_bundle(Path(bundle), pipe)
        guard = LatentGuard.from_pretrained(Path(bundle) / "guard", policy="strict")
    guard.fitted_for = FittedFor.of(pipe, SDXL_TURBO, {"num_inference_steps": 1, "guidance_scale": 5.0}, (1.0, 0.0))
    guard.fitted_for = replace(guard.fitted_for, identity=identity_of(SDXL_TURBO))
    guard.save_pretrained(folder)


def _write_vae(folder: Path, vae: Any) -> None:
    vae.save_pretrained(folder)
    (folder / "sdxl_vae.safetensors").write_bytes(b"the same for other programs")


def _write_open_clip(folder: Path) -> None:
    import open_clip

    towers = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": towers, "preprocess_cfg": pixels}))
    save_file(open_clip.CLIP(**towers).state_dict(), folder / "open_clip_model.safetensors")


def _write_classifier(folder: Path) -> None:
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    labels = {0: "normal", 1: "nsfw"}
    config = ViTConfig(image_size=32, patch_size=16, id2label=labels, label2id={"normal": 0, "nsfw": 1}, **small)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def _write_pictures(folder: Path) -> None:
    """Two dozen noisy squares of two colours, with captions and labels, in parquet."""
    import datasets

    noise = np.random.default_rng(0)
    squares = [noise.integers(128, size=(SIDE, SIDE, 3), dtype=np.uint8) + 127 * (k % 2) for k in range(24)]
    columns = {
        "image": [Image.fromarray(square.astype(np.uint8)) for square in squares],
        "caption": [f"a {('dark', 'bright')[k % 2]} square" for k in range(24)],
        "label": [k % 2 for k in range(24)],
    }
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["dark", "bright"]),
        }
    )
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_dict(columns, features).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
