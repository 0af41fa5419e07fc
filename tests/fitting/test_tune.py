"""Tuning: what is learnt, what stays, and how a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import InputError
from latent_guard.fitting import tune as module
from latent_guard.fitting.base import with_noise_input
from latent_guard.fitting.record import BATCH, Job, Recording
from latent_guard.fitting.soup import averaged
from latent_guard.fitting.teachers import Texts
from latent_guard.fitting.tune import RESUME, Lesson, TuneSettings, tune
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.testing import tiny_latent_clip

SPACE = LatentSpace("AutoencoderKL", 4, 8)
TEXTS = Texts.of(
    (PromptSet("k", "violence", "test", 1, "Apache-2.0", ("{}",), ("a dagger",), ("a fork",)),), ("a cat",)
)
SETTINGS = TuneSettings(steps=60, batch=16, learning_rate=3e-3, warmup=5, save_every=20)


def lesson(folder: Path) -> Lesson:
    """Daggers are latents of one sign, forks of the other, at every look; both drown in noise at the first."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    shows = torch.arange(BATCH) % 2 == 0
    sign = torch.where(shows, 1.0, -1.0)[:, None, None, None, None]
    latents = (sign + torch.randn(BATCH, 2, 4, 8, 8, generator=generator)).half()
    folder.mkdir()
    save_file({"latents": latents, "noise_levels": torch.tensor([0.8, 0.0])}, folder / "000000.safetensors")
    jobs = tuple(Job("x", number) for number in range(BATCH))
    recording = Recording(jobs, torch.tensor([0.8, 0.0]), (folder / "000000.safetensors",))
    wanted = torch.zeros(BATCH, 3)
    wanted[shows, 0] = 1.0
    wanted[~shows, 1] = 1.0
    return Lesson(recording, wanted)


@pytest.fixture
def base() -> LatentCLIP:
    torch.manual_seed(0)
    return tiny_latent_clip(SPACE)


def test_the_student_tells_what_the_base_could_not(base, tmp_path) -> None:
    lessons = [lesson(tmp_path / "recording")]
    before = base.fingerprint()
    student = tune(base, lessons, TEXTS, tmp_path / "run", SETTINGS)
    latents = lessons[0].recording.batches(0)[0].float()
    texts = TEXTS.embedded_by(base)
    scores = student.encode_latents(latents, 0.8, normalize=True) @ (texts[0] - texts[1])
    assert bool((scores[::2] > scores[1::2].max()).all())
    assert base.fingerprint() == before
    assert torch.equal(student.encode_text(["a knife"]), base.encode_text(["a knife"]))  # new words stay valid


def test_a_run_that_stopped_ends_in_the_same_weights(base, tmp_path, monkeypatch) -> None:
    lessons = [lesson(tmp_path / "recording")]
    whole = tune(base, lessons, TEXTS, tmp_path / "whole", SETTINGS)

    def stopping(steps: range, words: str) -> Iterator[int]:
        for step in steps:
            if step == 50:  # ten steps after a checkpoint
                raise KeyboardInterrupt
            yield step

    with monkeypatch.context() as patched:
        patched.setattr(module, "track", stopping)
        with pytest.raises(KeyboardInterrupt):
            tune(base, lessons, TEXTS, tmp_path / "stopped", SETTINGS)
    assert (tmp_path / "stopped" / RESUME).exists()
    resumed = tune(base, lessons, TEXTS, tmp_path / "stopped", SETTINGS)
    assert resumed.fingerprint() == whole.fingerprint()


def test_a_checkpoint_of_other_settings_is_refused(base, tmp_path) -> None:
    lessons = [lesson(tmp_path / "recording")]
    brief = replace(SETTINGS, steps=2, save_every=2)
    tune(base, lessons, TEXTS, tmp_path / "run", brief)
    with pytest.raises(InputError, match="other settings"):
        tune(base, lessons, TEXTS, tmp_path / "run", replace(brief, seed=1))


def test_the_average_of_a_base_and_two_students_is_a_third_of_each(base, tmp_path) -> None:
    brief = replace(SETTINGS, steps=5)
    students = [
        tune(
            base,
            [lesson(tmp_path / f"{seed}")],
            TEXTS,
            tmp_path / f"run {seed}",
            replace(brief, seed=seed),
            sharpness=2.0,
        )
        for seed in (0, 1)
    ]
    found = averaged(base, *students)
    towers = [model.visual.state_dict() for model in (with_noise_input(base), *students)]
    for name, weight in found.visual.state_dict().items():
        assert torch.allclose(weight, sum(tower[name] for tower in towers) / 3, atol=1e-6)
    assert torch.equal(found.logit_scale, students[0].logit_scale)
    assert not torch.equal(students[0].visual.proj, students[1].visual.proj)  # which themselves stay


def test_a_sharper_student_is_one_whose_factor_on_cosines_is_greater(base, tmp_path) -> None:
    brief = replace(SETTINGS, steps=1)
    student = tune(base, [lesson(tmp_path / "recording")], TEXTS, tmp_path / "run", brief, sharpness=2.0)
    assert float(student.logit_scale.exp() / base.logit_scale.exp()) == pytest.approx(2.0)


def test_only_the_layers_that_are_named_learn(base, tmp_path) -> None:
    given = base, [lesson(tmp_path / "recording")], TEXTS, tmp_path / "run", replace(SETTINGS, steps=2)
    student = tune(*given, layers=("ln_post", "proj"))
    start = with_noise_input(base).visual.state_dict()
    changed = {name for name, weight in student.visual.state_dict().items() if not torch.equal(weight, start[name])}
    assert changed
    assert all(name.startswith(("ln_post", "proj")) for name in changed)
