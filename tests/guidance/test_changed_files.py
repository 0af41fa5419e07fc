"""A changed byte in any file of a guard is refused by the file's name; what was never bound is said to be so."""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from latent_guard.concepts.bank import ConceptBank
from latent_guard.errors import CheckpointError, InputError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.pipelines.canary import CANARY_FILE, Canary
from latent_guard.testing import linear_bank
from latent_guard.worlds.emoji.bundle import BUNDLE

GUARD_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    CANARY_FILE,
)
BANK_FILES = ("bank.json", "bank.safetensors")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The shipped guard and bank, side by side."""
    for part in ("guard", "bank"):
        shutil.copytree(BUNDLE / part, tmp_path / part)
    return tmp_path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << random.Random(place).randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("name", [*(f"guard/{n}" for n in GUARD_FILES), *(f"bank/{n}" for n in BANK_FILES)])
def test_a_flipped_bit_anywhere_is_refused_by_name(copied: Path, name: str) -> None:
    path, chance = copied / name, random.Random(name)
    whole = path.read_bytes()
    places = [0, len(whole) // 2, len(whole) - 2, *(chance.randrange(len(whole)) for _ in range(5))]
    for place in places:
        flip(path, place)
        with pytest.raises(CheckpointError) as refused:
            LatentGuard.from_pretrained(copied / "guard")
        assert name.split("/")[0] in str(refused.value)
        assert "\n" not in str(refused.value)
        path.write_bytes(whole)
    LatentGuard.from_pretrained(copied / "guard")


@pytest.mark.parametrize("part", ["guard", "bank"])
def test_a_file_of_another_guard_is_refused(copied: Path, part: str) -> None:
    other = BUNDLE / "clean"
    if part == "guard":
        shutil.copy(other / "model.safetensors", copied / "guard" / "model.safetensors")
    else:
        bank = ConceptBank.load(copied / "bank")
        bank.with_thresholds(bank.noise_levels, bank.thresholds + 5).save(copied / "other")
        shutil.copy(copied / "other" / "bank.safetensors", copied / "bank" / "bank.safetensors")
    with pytest.raises(CheckpointError, match=part):
        LatentGuard.from_pretrained(copied / "guard")


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "concepts in another order": lambda words: words["concepts"].reverse(),
    "a concept renamed": lambda words: words["concepts"][0].update(prompt="a flower"),
    "a category renamed": lambda words: words["concepts"][0].update(category="none"),
    "another factor": lambda words: words.update(logit_scale=1e-3),
    "true for a factor": lambda words: words.update(logit_scale=True),
    "another scoring": lambda words: words.update(scoring="mean"),
    "a benign prompt": lambda words: words["benign_prompts"].append("a pistol"),
    "another rate": lambda words: words["calibration"].update(rate=0.5),
    "a key more": lambda words: words.update(note="harmless"),
    "no digest": lambda words: words.pop("sha256"),
    "an empty digest": lambda words: words.update(sha256=""),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_words_of_a_bank_edited_by_hand_are_refused(copied: Path, edit: Any) -> None:
    path = copied / "bank" / "bank.json"
    words = json.loads(path.read_text())
    edit(words)
    path.write_text(json.dumps(words))
    with pytest.raises(CheckpointError, match="bank"):
        ConceptBank.load(copied / "bank")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("thresholds", lambda t: t * 0 + 1e9),
        ("thresholds", lambda t: t * 0 + 3e38),
        ("thresholds", lambda t: t * 0 + 20_000),
        ("thresholds", lambda t: t * torch.nan),
        ("embeddings", torch.zeros_like),
        ("embeddings", lambda t: t * 1e-6),
        ("embeddings", lambda t: t * torch.inf),
        ("benign", lambda t: t * 100),
        ("benign", lambda t: t * 1e30),
        ("embeddings", lambda t: t[0, 0]),
        ("benign", lambda t: t[0]),
        ("noise_levels", lambda t: t + 2),
        ("noise_levels", lambda t: t - 1),
    ],
)
def test_a_bank_of_senseless_numbers_is_none_even_if_it_was_saved_so(copied: Path, name: str, change: Any) -> None:
    bank = ConceptBank.load(copied / "bank")
    parts = {key: getattr(bank, key) for key in bank.__dataclass_fields__}
    with pytest.raises(InputError, match="concept bank"):
        ConceptBank(**{**parts, name: change(parts[name])})


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1e300, True, "31"])
def test_a_factor_that_no_clip_has_is_refused(scale: Any) -> None:
    bank = linear_bank(0.0)
    parts = {key: getattr(bank, key) for key in bank.__dataclass_fields__}
    with pytest.raises(InputError, match="logit_scale"):
        ConceptBank(**{**parts, "logit_scale": scale})


def test_a_bank_of_the_version_before_is_read_with_a_warning(copied: Path) -> None:
    path = copied / "bank" / "bank.json"
    words = json.loads(path.read_text())
    del words["sha256"]
    path.write_text(json.dumps({**words, "format": 2}))
    with pytest.warns(UserWarning, match="carries no digest"):
        bank = ConceptBank.load(copied / "bank")
    bank.save(copied / "again")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ConceptBank.load(copied / "again")
    assert again.concepts == bank.concepts
    assert torch.equal(again.thresholds, bank.thresholds)


def test_a_guard_of_the_version_before_is_read_with_warnings(copied: Path) -> None:
    tensors = load_file(copied / "guard" / CANARY_FILE)
    save_file(tensors, copied / "guard" / CANARY_FILE)
    (copied / "guard" / "manifest.json").unlink()
    with pytest.warns(UserWarning, match="would not be noticed") as warned:
        LatentGuard.from_pretrained(copied / "guard")
    assert len(warned) == 2
    model = LatentCLIP.from_pretrained(copied / "guard")
    model.save_pretrained(copied / "guard")
    Canary.load(BUNDLE / "guard").save(copied / "guard")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LatentGuard.from_pretrained(copied / "guard")


@pytest.mark.parametrize(
    ("picture", "latent"),
    [
        (torch.zeros(3, 8, 8), torch.ones(4, 2, 2)),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), torch.ones(4, 2, 2)),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.full((4, 2, 2), torch.nan)),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.full((4, 2, 2), 1e30)),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(2, 2)),
    ],
)
def test_a_canary_of_senseless_numbers_is_none(picture: torch.Tensor, latent: torch.Tensor) -> None:
    with pytest.raises(InputError, match="canary"):
        Canary(picture, latent)


def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(copied: Path) -> None:
    for name in (CANARY_FILE, "model.safetensors"):
        path = copied / "guard" / name
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(CheckpointError):
            LatentGuard.from_pretrained(copied / "guard")
        if name == CANARY_FILE:
            with pytest.raises(CheckpointError, match="not a plain file"):
                Canary.load(copied / "guard")
            path.unlink()
            shutil.copy(BUNDLE / "guard" / name, path)


def test_a_calibration_of_other_types_is_no_calibration(copied: Path) -> None:
    path = copied / "bank" / "bank.json"
    words = json.loads(path.read_text())
    for key, value in (("rate", "often"), ("confidence", []), ("figures", None), ("scorings", [{"method": "x"}])):
        changed = {**words, "format": 2, "calibration": {**words["calibration"], key: value}}
        path.write_text(json.dumps({name: part for name, part in changed.items() if name != "sha256"}))
        with pytest.raises(CheckpointError, match="corrupt"), pytest.warns(UserWarning, match="no digest"):
            ConceptBank.load(copied / "bank")
