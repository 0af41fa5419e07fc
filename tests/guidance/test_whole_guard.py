"""The guard with a real, untrained Latent-CLIP and a bank built by it, from its folder on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import CheckpointError, InputError
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import FLAG, STEER
from latent_guard.pipelines.canary import CANARY_FILE
from latent_guard.testing import tiny_latent_clip, tiny_pipeline, write_bundle
from latent_guard.testing.linear import SPACE
from tests.pipelines.tiny import generators

SETS = [
    PromptSet("a", "violence", "", 1, "CC0-1.0", ("{}",), ("a knife", "a bomb"), ("a spoon",)),
    PromptSet("b", "shocking", "", 1, "CC0-1.0", ("{}",), ("a skull",), ("a pumpkin",)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path, tiny_pipeline(), SETS)
    bank = ConceptBank.load(tmp_path / "bank")
    bank.with_thresholds(torch.tensor([0.0, 1.0]), torch.full((2, 2), -50.0)).save(tmp_path / "bank")
    return tmp_path / "guard"


def test_a_guard_from_its_folder_lowers_the_score_of_what_it_steers(folder: Path) -> None:
    guard, pipe = LatentGuard.from_pretrained(folder), tiny_pipeline()
    final = {}
    for policy in (FLAG, STEER):
        with guard.attach(pipe, policy) as watch, torch.inference_mode():
            pipe("a cat", num_inference_steps=4, generator=generators(1), output_type="latent")
        final[policy] = watch.verdicts[0]
    assert set(final[STEER].scores) == {"violence", "shocking"}
    assert final[STEER].cost.pushes == len(final[STEER].actions) > 0
    assert max(final[STEER].scores.values()) < max(final[FLAG].scores.values())


def test_a_bank_of_another_model_is_refused(folder: Path) -> None:
    bank = ConceptBank.load(folder.parent / "bank")
    other = tiny_latent_clip(SPACE)
    torch.nn.init.zeros_(other.text.text_projection)
    with pytest.raises(InputError, match="build the bank again"):
        LatentGuard(other, bank)


def test_a_damaged_canary_is_refused(folder: Path) -> None:
    (folder / CANARY_FILE).write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=CANARY_FILE):
        LatentGuard.from_pretrained(folder)
