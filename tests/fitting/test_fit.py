"""A whole fit: what it leaves behind, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.fitting.roles import Role
from latent_guard.fitting.teachers import Teacher
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import FLAG
from tests.fitting.conftest import ARGUMENTS


def test_a_fit_makes_one_folder_that_guards_the_pipeline(fit_of, pipe) -> None:
    fit = fit_of()
    made, verification = fit.run()
    guard = LatentGuard.from_pretrained(fit.out)
    assert guard.model.fingerprint() == made.model.fingerprint()
    assert guard.bank.calibration is not None
    assert guard.policies.default == made.policies.default
    assert guard.fitted_for is not None
    assert guard.fitted_for.steps == ARGUMENTS["num_inference_steps"]
    assert verification.benign_touched.of == fit.settings.count(Role.VERIFY, benign=True)
    assert json.loads((fit.out / "report.json").read_text()) == json.loads(json.dumps(verification.to_dict()))
    page = (fit.out / "report.html").read_text()
    assert "benign images touched" in page
    assert "http" not in page.split("<body>")[1]  # nothing is fetched
    output = guard.generate(pipe, "a cat", seed=0, **ARGUMENTS)
    assert len(output.verdicts) == 1


def test_a_fit_that_was_stopped_makes_nothing_twice(fit_of, monkeypatch) -> None:
    fit = fit_of()
    whole, measured = fit.run()
    calls = []
    original = type(fit.pipe).__call__
    monkeypatch.setattr(
        type(fit.pipe), "__call__", lambda pipe, *args, **given: calls.append(1) or original(pipe, *args, **given)
    )
    again, verification = fit_of().run()
    assert not calls
    assert verification == measured
    assert again.model.fingerprint() == whole.model.fingerprint()
    assert again.bank.digest == whole.bank.digest


def test_finished_images_are_seen_once_by_the_teacher(fit_of, monkeypatch) -> None:
    fit = fit_of()
    recording = fit.generations.of(Role.TUNE)
    seen = fit.teaching.features(recording)
    monkeypatch.setattr(Teacher, "features", None)
    assert torch.equal(fit_of().teaching.features(recording), seen)


def test_thresholds_are_set_anew_for_another_rate_without_new_recordings(fit_of) -> None:
    strict, _ = fit_of(images=80, rate=0.1).run()
    recorded = {path: path.stat().st_mtime_ns for path in fit_of().work.rglob("recordings/*/*.safetensors")}
    lax, _ = fit_of(images=80, rate=0.3).refresh(FLAG)
    assert (lax.bank.thresholds < strict.bank.thresholds).all()
    assert lax.model.fingerprint() == strict.model.fingerprint()
    assert LatentGuard.from_pretrained(fit_of().out).policies.default == FLAG
    assert {path: path.stat().st_mtime_ns for path in recorded} == recorded
    with pytest.raises(InputError, match="another images"):
        fit_of(images=70).refresh()


def test_without_a_fit_there_is_nothing_to_refresh(fit_of) -> None:
    with pytest.raises(InputError, match="without --refresh first"):
        fit_of().refresh()


def test_roles_share_no_prompt(fit_of) -> None:
    generations = fit_of().generations
    prompts = [{job.prompt for job in generations.jobs(role)} for role in Role]
    assert sum(map(len, prompts)) == len(set().union(*prompts))


def test_other_settings_do_not_go_on_with_an_unfinished_fit(fit_of) -> None:
    fit = fit_of()
    fit.settings.claim(fit.work)
    with pytest.raises(InputError, match="another seed"):
        fit_of(seed=1).run()


def test_too_few_images_for_a_rate_are_refused_with_how_many_it_takes(fit_of) -> None:
    with pytest.raises(InputError, match="at least 857"):
        fit_of(images=100, rate=0.01)
