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
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_vocab_size
from latent_guard.pipelines.canary import CANARY_FILE, Canary
from tests.guidance.doubles import SPACE, generators, tiny_pipeline
from tests.guidance.parts import CHANNELS, SIDE

SETS = [
    PromptSet("a", "violence", "", 1, "CC0-1.0", ("{}",), ("a knife", "a bomb"), ("a spoon",)),
    PromptSet("b", "shocking", "", 1, "CC0-1.0", ("{}",), ("a skull",), ("a pumpkin",)),
]


def small_model() -> LatentCLIP:
    torch.manual_seed(0)
    vision = VisionConfig(channels=CHANNELS, size=SIDE, patch_size=4, width=32, layers=1, heads=2)
    text = TextConfig(context_length=16, vocab_size=trimmed_vocab_size(100), width=32, layers=1, heads=2)
    return LatentCLIP(LatentCLIPConfig(16, vision, text, SPACE, reads_noise_level=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = small_model()
    bank = ConceptBank.build(model, SETS).with_thresholds(torch.tensor([0.0, 1.0]), torch.full((2, 2), -50.0))
    model.save_pretrained(tmp_path / "guard", dtype=torch.float32)
    bank.save(tmp_path / "bank")
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Canary.made_by(tiny_pipeline().vae, picture).save(tmp_path / "guard")
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
    other = small_model()
    torch.nn.init.zeros_(other.text.text_projection)
    with pytest.raises(InputError, match="build the bank again"):
        LatentGuard(other, bank)


def test_a_damaged_canary_is_refused(folder: Path) -> None:
    (folder / CANARY_FILE).write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=CANARY_FILE):
        LatentGuard.from_pretrained(folder)
