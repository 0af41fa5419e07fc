"""The guard that ships for FLUX.2's latents, by its name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

from latent_guard.errors import InputError
from latent_guard.loading import load_guard
from latent_guard.package_data import SHIPPED_FLUX2, SHIPPED_GUARDS
from latent_guard.pipelines.tiny_autoencoder import KINDS, TinyAutoencoder
from latent_guard.testing import tiny_pipeline

Command = Callable[..., Any]
DATA = Path(__file__).parents[3] / "shared" / "data"
ENCODER = DATA / "taef2" / "taef2_encoder.safetensors"
needs_photographs = pytest.mark.skipif(not ENCODER.is_file(), reason="weights and photographs do not ship")
SHOWN = ("golden retriever", "school bus", "espresso", "banana")


def test_it_moderates_latents_by_its_name(latent_guard_command: Command, tmp_path: Path) -> None:
    save_file({"latents": torch.randn(2, 32, 8, 8)}, tmp_path / "latents.safetensors")
    done = latent_guard_command(
        "check", tmp_path / "latents.safetensors", "--guard", SHIPPED_FLUX2, "--format", "jsonl"
    )
    assert (done.code, done.err) == (0, "")
    findings = [json.loads(line) for line in done.out.splitlines()]
    scored = [set(finding["scores"]) for finding in findings if "scores" in finding]
    assert len(scored) == 2
    assert {"weapons", "insects and spiders", "revealing clothes", "drugs and alcohol"} <= scored[0]


def test_an_encoder_of_other_weights_is_refused(latent_guard_command: Command, tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = tmp_path / "taef2_encoder.safetensors"
    save_file(TinyAutoencoder(KINDS["taef2"]).encoder.state_dict(), other)
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    done = latent_guard_command("check", tmp_path / "black.png", "--guard", SHIPPED_FLUX2, "--model", other)
    assert done.code == 2
    assert "VAE" in done.err


def test_the_shipped_pipeline_is_none_of_its(latent_guard_command: Command, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    done = latent_guard_command("check", tmp_path / "black.png", "--guard", SHIPPED_FLUX2)
    assert done.code == 2
    assert "TAEF2" in done.err


def test_it_guards_no_denoising_which_it_has_never_seen() -> None:
    with pytest.raises(InputError, match="calibrated on finished pictures"):
        load_guard(None, SHIPPED_FLUX2).attach(tiny_pipeline())


def test_nothing_that_ships_with_it_names_a_place_on_somebodys_disk() -> None:
    texts = [
        path.read_text() for path in SHIPPED_GUARDS[SHIPPED_FLUX2].rglob("*.json") if path.name != "tokenizer.json"
    ]
    assert texts
    assert not any(" /" in text or '"/' in text for text in texts)


def test_its_card_says_what_it_is_not() -> None:
    card = load_guard(None, SHIPPED_FLUX2).documents["README.md"]
    assert "no safety filter" in card
    assert "Zero-shot on the 10,000 validation photographs" in card


@needs_photographs
def test_it_classifies_photographs_at_a_larger_size(latent_guard_command: Command, tmp_path: Path) -> None:
    (path,) = sorted((DATA / "tiny_imagenet").glob("val-*.parquet"))
    table = parquet.read_table(path, columns=["image", "label"])
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    counts = dict.fromkeys(SHOWN, 0)
    for row in table.to_pylist():
        name = names[row["label"]]
        if counts.get(name, 10) < 10:
            (tmp_path / "photographs" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").resize((256, 256))
            picture.save(tmp_path / "photographs" / name / f"{counts[name]}.png")
            counts[name] += 1
    done = latent_guard_command(
        "zero-shot", tmp_path / "photographs", "--guard", SHIPPED_FLUX2, "--model", ENCODER, "--out", tmp_path / "out"
    )
    assert done.code == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["models"]["latent_clip"]["top1"]["value"] > 0.7
