"""A whole fit: what it leaves behind, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json

import pytest

from latent_guard.errors import InputError
from latent_guard.fitting.roles import Role
from latent_guard.guidance.guard import LatentGuard
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
