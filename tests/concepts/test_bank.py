from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.texts import Concept
from latent_guard.errors import CheckpointError, InputError


class LetterModel(SimpleNamespace):
    """A stand-in for Latent-CLIP's text tower: a text is embedded as the count of each of its letters."""

    def encode_text(self, texts: list[str], normalize: bool = False) -> Tensor:
        rows = torch.tensor([[float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
        return torch.nn.functional.normalize(rows, dim=-1) if normalize else rows

    def fingerprint(self) -> str:
        return self.name


def prompt_set(category: str, prompts: list[str], benign: list[str]) -> PromptSet:
    templates = ("{}", "a picture of {}")
    return PromptSet(category, category, "test", 1, "Apache-2.0", templates, tuple(prompts), tuple(benign))


@pytest.fixture
def model() -> LetterModel:
    return LetterModel(name="letters", logit_scale=torch.tensor(math.log(50.0)))


@pytest.fixture
def bank(model: LetterModel) -> ConceptBank:
    violence = prompt_set("violence", ["a dagger", "an axe"], ["a fork", "a hammer"])
    shocking = prompt_set("shocking", ["a skull"], ["a fork", "a ghost"])
    return ConceptBank.build(model, [violence, shocking])


def test_a_bank_holds_each_concept_and_each_benign_prompt_once(bank: ConceptBank) -> None:
    assert bank.categories == ("violence", "shocking")
    assert [concept.prompt for concept in bank.concepts] == ["a dagger", "an axe", "a skull"]
    assert [concept.category for concept in bank.concepts] == ["violence", "violence", "shocking"]
    assert bank.benign_prompts == ("a fork", "a hammer", "a ghost")
    assert bank.logit_scale == pytest.approx(50.0)
    assert torch.equal(bank.thresholds, torch.zeros(2, 1))


def test_an_embedding_is_the_normalised_mean_over_the_templates(bank: ConceptBank, model: LetterModel) -> None:
    rows = model.encode_text(["an axe", "a picture of an axe"], normalize=True)
    torch.testing.assert_close(bank.embeddings[1], normalize(rows.mean(dim=0), dim=0))
    torch.testing.assert_close(bank.benign.norm(dim=-1), torch.ones(3))


def test_a_saved_bank_loads_as_it_was(bank: ConceptBank, tmp_path: Path) -> None:
    calibrated = bank.with_thresholds(torch.tensor([0.0, 0.5]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    calibrated.save(tmp_path / "bank")
    loaded = ConceptBank.load(tmp_path / "bank")
    assert (loaded.concepts, loaded.benign_prompts) == (calibrated.concepts, calibrated.benign_prompts)
    assert (loaded.fingerprint, loaded.logit_scale) == ("letters", bank.logit_scale)
    for name in ("embeddings", "benign", "noise_levels", "thresholds"):
        assert torch.equal(getattr(loaded, name), getattr(calibrated, name))
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == ["bank.json", "bank.safetensors"]


@pytest.mark.parametrize("name", ["bank.json", "bank.safetensors"])
def test_a_missing_or_truncated_file_is_refused_in_one_line(bank: ConceptBank, tmp_path: Path, name: str) -> None:
    bank.save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="corrupt") as refusal:
        ConceptBank.load(tmp_path)
    assert "\n" not in str(refusal.value)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match="no concept bank"):
        ConceptBank.load(tmp_path)


def test_a_digest_rests_on_fixed_keys_and_names_all_that_scores_depend_on() -> None:
    axes = torch.eye(4)
    bank = ConceptBank(
        concepts=(Concept("a dagger", "violence"), Concept("a skull", "shocking")),
        embeddings=axes[:2],
        benign_prompts=("a fork", "a ghost"),
        benign=axes[2:],
        fingerprint="axes",
        logit_scale=10.0,
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(2, 1),
    )
    assert bank.digest == "3b159036ff93d449"  # in audit logs: the name of a class or a field is no part of it
    changes: list[dict[str, Any]] = [
        {"concepts": (Concept("an axe", "violence"), bank.concepts[1])},
        {"concepts": (Concept("a dagger", "hate"), bank.concepts[1])},
        {"embeddings": axes[:2].flip(0)},
        {"benign_prompts": ("a fork", "a spoon")},
        {"benign": axes[2:].flip(0)},
        {"fingerprint": "other"},
        {"logit_scale": 11.0},
        {"noise_levels": torch.ones(1)},
        {"thresholds": torch.ones(2, 1)},
        {"scoring": "mean"},
    ]
    digests = {replace(bank, **change).digest for change in changes}
    assert len(digests | {bank.digest}) == len(changes) + 1


def test_a_bank_of_another_model_is_refused(bank: ConceptBank, model: LetterModel) -> None:
    bank.require_made_by(model)
    with pytest.raises(InputError, match=r"letters.*other"):
        bank.require_made_by(LetterModel(name="other"))


def test_a_prompt_cannot_be_both_unsafe_and_benign(model: LetterModel) -> None:
    with pytest.raises(InputError, match="a dagger"):
        ConceptBank.build(model, [prompt_set("violence", ["a dagger"], ["a fork", "a dagger"])])
    with pytest.raises(InputError, match="at least one prompt set"):
        ConceptBank.build(model, [])


def test_an_empty_concept_is_an_error_that_names_it(model: LetterModel) -> None:
    with pytest.raises(InputError, match=r"hate.*no prompt"):
        ConceptBank.build(model, [prompt_set("violence", ["a dagger"], ["a fork"]), prompt_set("hate", [], ["a cap"])])
    with pytest.raises(InputError, match="empty prompt"):
        ConceptBank.build(model, [prompt_set("violence", ["a dagger", " "], ["a fork"])])
    with pytest.raises(InputError, match="benign"):
        ConceptBank.build(model, [prompt_set("violence", ["a dagger"], [])])


def test_a_saved_bank_remembers_the_prompt_sets_it_came_from(bank: ConceptBank, tmp_path: Path) -> None:
    bank.save(tmp_path)
    loaded = ConceptBank.load(tmp_path)
    assert [(source.category, source.version) for source in loaded.sources] == [("violence", 1), ("shocking", 1)]
    assert loaded.sources[0].templates == ("{}", "a picture of {}")
    assert (loaded.sources, loaded.scoring, loaded.calibration) == (bank.sources, "log-sum-exp", None)


def test_a_bank_of_the_first_format_is_still_read_and_one_of_the_future_is_not(
    bank: ConceptBank, tmp_path: Path
) -> None:
    bank.save(tmp_path)
    words = json.loads((tmp_path / "bank.json").read_text())
    old = {key: words[key] for key in ("fingerprint", "logit_scale", "concepts", "benign_prompts")}
    (tmp_path / "bank.json").write_text(json.dumps({**old, "format": 1}))
    assert (ConceptBank.load(tmp_path).sources, ConceptBank.load(tmp_path).concepts) == ((), bank.concepts)
    (tmp_path / "bank.json").write_text(json.dumps({**words, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        ConceptBank.load(tmp_path)


@pytest.mark.parametrize(
    ("levels", "thresholds"),
    [([0.0], [[1.0, 2.0]]), ([0.5, 0.0], [[1.0, 2.0], [1.0, 2.0]]), ([0.0], [[math.nan], [0.0]]), ([], [[], []])],
)
def test_thresholds_that_fit_no_grid_are_refused(
    bank: ConceptBank, levels: list[float], thresholds: list[list[float]]
) -> None:
    with pytest.raises(InputError):
        bank.with_thresholds(torch.tensor(levels), torch.tensor(thresholds))
