"""A guard is one folder: what was saved is had back, whole, unchanged, or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from latent_guard import LatentCLIP, LatentGuard, Policies, Policy, fitted_guards
from latent_guard.errors import CheckpointError, InputError
from latent_guard.guidance.check_schedule import CheckSchedule
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.guidance.guard_card import guard_card
from latent_guard.guidance.policy import PRESETS, SAFE
from latent_guard.latent_clip.latent_space import PUBLISHED
from latent_guard.testing import tiny_pipeline, write_bundle
from latent_guard.worlds.emoji.bundle import BUNDLE
from tests.latent_clip.test_hub import Hub, snapshot

POLICIES = Policies(
    "mine",
    Policy(strength=2.5, max_pushes=2, safety_margin=1.0, augmentations=3, augmentation_noise=0.2, window=(0.9, 0.3)),
    {"violence": Policy(steer=False, retries=0, block=True, abort_margin=2.0, trigger=-1.0)},
    CheckSchedule(2, 6.0),
    prompt_trigger=3.0,
    on_mismatch="refuse",
)
FITTED = FittedFor(
    pipeline="owner/name",
    pipeline_class="StableDiffusionPipeline",
    identity="owner--name",
    scheduler="DDIMScheduler",
    scheduler_config={"timestep_spacing": "leading", "trained_betas": None, "eta": 0.5, "orders": [1, 2]},
    steps=4,
    arguments={"guidance_scale": 7.5, "height": None},
    window=(0.9, 0.3),
)
DOCUMENTS = {"README.md": "# mine\n", "report.json": "{}\n", "report.html": "<p>0.5% \u2014 touched</p>"}
FILES = [
    *("README.md", "bank/bank.json", "bank/bank.safetensors", "canary.safetensors", "config.json", "fitted.json"),
    *("model.safetensors", "policy.yaml", "report.html", "report.json"),
    *("tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, tiny_pipeline())
    return folder


@pytest.fixture
def guard(bundle: Path) -> LatentGuard:
    loaded = LatentGuard.from_pretrained(bundle / "guard")
    return LatentGuard(loaded.model, loaded.bank, POLICIES, loaded.canary, fitted_for=FITTED, documents=DOCUMENTS)


@pytest.fixture
def saved(guard: LatentGuard, tmp_path: Path) -> Path:
    guard.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def test_what_was_saved_is_had_back(guard: LatentGuard, saved: Path) -> None:
    assert sorted(json.loads((saved / "manifest.json").read_text())) == sorted(FILES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = LatentGuard.from_pretrained(saved)
    assert (back.fitted_for, back.documents) == (FITTED, DOCUMENTS)
    assert replace(back.policies, name="mine") == POLICIES
    assert (back.policies.name, back.policies.digest) == ("own", POLICIES.digest)
    assert back.bank.digest == guard.bank.digest
    latents = torch.randn(2, 4, 8, 8)
    assert torch.equal(back.model.encode_latents(latents), guard.model.encode_latents(latents))
    assert back.canary is not None
    assert guard.canary is not None
    assert torch.equal(back.canary.latent, guard.canary.latent)
    assert [path.name for path in saved.parent.iterdir()] == ["mine"]


def test_weights_that_half_precision_would_change_are_kept_as_they_are(bundle: Path, tmp_path: Path) -> None:
    guard = LatentGuard.from_pretrained(bundle / "guard")
    with torch.no_grad():
        guard.model.logit_scale += 1e-5
    guard.save_pretrained(tmp_path / "exact")
    back = LatentCLIP.from_pretrained(tmp_path / "exact")
    assert torch.equal(back.logit_scale, guard.model.logit_scale)


def test_without_a_policy_named_the_folders_own_holds_and_else_safe(saved: Path, bundle: Path) -> None:
    assert LatentGuard.from_pretrained(saved, policy="strict").policies.name == "strict"
    shutil.copytree(bundle / "guard", saved.parent / "trained")
    shutil.copytree(bundle / "bank", saved.parent / "trained" / "bank")
    trained = LatentGuard.from_pretrained(saved.parent / "trained")
    assert (trained.policies.name, trained.policies, trained.fitted_for) == ("safe", Policies.of(SAFE), None)


def test_the_papers_of_a_guard_do_not_go_with_another_bank_or_policy(saved: Path, bundle: Path) -> None:
    assert LatentGuard.from_pretrained(saved, policy="flag").documents == {}
    assert LatentGuard.from_pretrained(saved, bank=bundle / "bank").documents == {}


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_is_refused_by_its_name(saved: Path, name: str) -> None:
    path = saved / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{path.name.split('.')[0]}.*SHA-256 differs"):
        LatentGuard.from_pretrained(saved)


def test_a_policy_that_was_put_there_later_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE / "guard", tmp_path / "guard")
    shutil.copytree(BUNDLE / "bank", tmp_path / "guard" / "bank")
    shutil.copy(saved / "policy.yaml", tmp_path / "guard")
    with pytest.raises(CheckpointError, match=r"policy\.yaml is not among the files that its manifest names"):
        LatentGuard.from_pretrained(tmp_path / "guard")


def test_a_latent_clip_is_read_from_a_guards_folder_of_which_no_more_was_fetched(saved: Path, tmp_path: Path) -> None:
    for name in ("canary.safetensors", "policy.yaml", "fitted.json", *DOCUMENTS):
        (saved / name).unlink()
    shutil.rmtree(saved / "bank")
    assert LatentCLIP.from_pretrained(saved).config.embed_dim == 16


def test_a_guard_is_replaced_and_anything_else_is_left_alone(guard: LatentGuard, saved: Path) -> None:
    LatentGuard(guard.model, guard.bank, "flag", guard.canary).save_pretrained(saved)
    back = LatentGuard.from_pretrained(saved)
    assert (back.policies.digest, back.fitted_for, back.documents) == (PRESETS["flag"].digest, None, {})
    (saved / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="holds something else than a guard"):
        guard.save_pretrained(saved)
    assert (saved / "thesis.tex").read_text() == "years"


def test_a_guard_that_cannot_be_written_whole_is_not_written(guard: LatentGuard, saved: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    monkeypatch.setattr("latent_guard.guidance.guard_folder.write_manifest", full)
    for folder in (saved, saved.parent / "new"):
        with pytest.raises(InputError, match=r"cannot write .*No space left.*make room"):
            guard.save_pretrained(folder)
    assert {path: path.read_bytes() for path in saved.parent.rglob("*") if path.is_file()} == before


KILLED = """
import sys, time
from latent_guard import LatentGuard
from latent_guard.guidance import guard_folder

def told(folder):
    print("writing", flush=True)
    time.sleep(60)

guard_folder.write_manifest = told
LatentGuard.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""


@pytest.mark.slow
def test_a_kill_leaves_the_guard_that_was_there(saved: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv(fitted_guards.HOME, str(tmp_path / "home"))
    for place in (saved, fitted_guards.place_of("owner/name")):
        begun = subprocess.Popen([sys.executable, "-c", KILLED, saved, place], stdout=subprocess.PIPE, text=True)
        assert begun.stdout is not None
        assert begun.stdout.readline() == "writing\n"
        begun.kill()
        begun.wait()
        time.sleep(0.1)
    assert LatentGuard.from_pretrained(saved).fitted_for == FITTED
    assert fitted_guards.find("owner/name") is None


def test_a_guard_without_a_canary_is_not_saved(guard: LatentGuard, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a canary"):
        LatentGuard(guard.model, guard.bank).save_pretrained(tmp_path / "new")
    unknown = LatentGuard(guard.model, guard.bank, canary=guard.canary, documents={"virus.exe": ""})
    with pytest.raises(InputError, match=r"no place for 'virus\.exe'"):
        unknown.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_guard_is_published_whole_and_had_back(guard: LatentGuard, tmp_path: Path, monkeypatch: Any) -> None:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    bare = LatentGuard(guard.model, guard.bank, POLICIES, guard.canary, fitted_for=FITTED)
    assert bare.push_to_hub("me/mine", private=True) == "https://hub/me/mine"
    assert hub.repositories == [("me/mine", True)]
    assert b'from_pretrained("me/mine")' in hub.files["README.md"]
    guard.push_to_hub("me/mine")
    assert sorted(hub.files) == sorted([*FILES, "manifest.json"])
    assert hub.files["README.md"].decode() == DOCUMENTS["README.md"]
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot(hub, tmp_path / "fetched"))
    back = LatentGuard.from_pretrained("me/mine")
    assert (back.fitted_for, back.documents, back.policies.digest) == (FITTED, DOCUMENTS, POLICIES.digest)


def test_a_card_says_what_was_fitted_measured_and_done(guard: LatentGuard) -> None:
    card = guard_card("me/mine", FITTED, guard.bank, POLICIES, [("benign touched", "0.8% (at most 1.4%)")])
    assert card.startswith("---\nlibrary_name: latent-guard\n")
    rows = ("| pipeline | `owner/name` (StableDiffusionPipeline) |", "| steps | 4 |", "| guidance_scale | 7.5 |")
    told = ("| benign touched | 0.8% (at most 1.4%) |", "| violence | flag, block |", "refuses to run", "# mine\n")
    use = 'LatentGuard.from_pretrained("me/mine")', "num_inference_steps=4, guidance_scale=7.5"
    for line in (*rows, *told, *use, *guard.bank.categories):
        assert line in card
    assert "No pipeline" in guard_card("me/mine", None, guard.bank, Policies.of(SAFE))
    of_flux = guard_card("me/mine", None, guard.bank, Policies.of(SAFE), space=PUBLISHED["FLUX.1"])
    assert "reads the latents of FLUX.1 (16 channels, /8" in of_flux
    assert "Z-Image" in of_flux
