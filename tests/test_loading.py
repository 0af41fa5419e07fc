"""Models and policies by folder, hub id and name, in Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import latent_guard
from latent_guard import ConceptBank, LatentCLIP, LatentGuard, Policies, Policy, loading, shipped
from latent_guard.errors import CheckpointError, InputError
from latent_guard.guidance.fitted_for import FittedFor
from latent_guard.worlds.emoji.bundle import bundle_folder
from tests.local_hub.repositories import commit_of
from tests.local_hub.server import local_hub

OF_THE_HUB = """
import json, sys, torch
from diffusers import DiffusionPipeline
from latent_guard import LatentCLIP, LatentGuard
from latent_guard.errors import CheckpointError
from latent_guard.loading import load_guard, load_pipeline

guard = LatentGuard.from_pretrained("me/guard", policy="strict")
other = load_guard("me/pipeline", "me/guard")
pipe = load_pipeline("me/pipeline", steps=1, images=1)
output = guard.generate(pipe, "a pirate party", seed=0, num_inference_steps=1)
try:
    LatentGuard.from_pretrained("me/nothing")
except CheckpointError as error:
    refused = str(error)
print(json.dumps({
    "fingerprints": [guard.model.fingerprint(), LatentCLIP.from_pretrained("me/guard").fingerprint()],
    "categories": guard.bank.categories,
    "same bank": guard.bank.fingerprint == other.bank.fingerprint,
    "policy": guard.policies.name,
    "verdicts": len(output.verdicts),
    "refused": refused,
}))
"""


@pytest.mark.slow
def test_a_guard_and_a_pipeline_come_from_the_hub_by_their_ids(tmp_path: Path) -> None:
    bundle, repository = Path(bundle_folder()), tmp_path / "hub" / "me" / "guard"
    shutil.copytree(bundle / "guard", repository)
    shutil.copytree(bundle / "bank", repository / "bank")
    (repository / "notes.bin").write_bytes(b"not asked for")
    shutil.copytree(bundle / "pipeline", tmp_path / "hub" / "me" / "pipeline")
    with local_hub(tmp_path / "hub") as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", OF_THE_HUB], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    assert f"me/guard is no folder here; its files are the hub's, revision {commit_of(repository)}" in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    own = LatentGuard.from_pretrained(bundle / "guard")
    assert told["fingerprints"] == [own.model.fingerprint()] * 2
    assert (told["categories"], told["same bank"]) == (list(own.bank.categories), True)
    assert (told["policy"], told["verdicts"]) == ("strict", 1)
    assert told["refused"].startswith("me/nothing is no folder here, and cannot be downloaded: the hub has no")
    assert not list((tmp_path / "home").rglob("notes.bin"))


WHOLE = """
import json
from pathlib import Path
from latent_guard import LatentCLIP, LatentGuard
from latent_guard.errors import CheckpointError

clip = LatentCLIP.from_pretrained("me/whole")
guard = LatentGuard.from_pretrained("me/whole")
try:
    LatentGuard.from_pretrained("me/edited")
except CheckpointError as error:
    refused = str(error)
print(json.dumps({
    "fingerprints": [clip.fingerprint(), guard.model.fingerprint()],
    "policy": [guard.policies.name, guard.policies.digest],
    "bank": guard.bank.digest,
    "fitted for": guard.fitted_for.to_dict(),
    "documents": guard.documents,
    "refused": refused,
}))
"""


@pytest.mark.slow
def test_a_whole_guard_comes_from_the_hub_with_policy_card_and_what_it_was_fitted_for(tmp_path: Path) -> None:
    own, fitted = shipped.guard(), FittedFor.of(shipped.pipeline(), "shipped", shipped.ARGUMENTS, (0.95, 0.4))
    documents = {"README.md": "# whole", "report.html": "<p>measured</p>", "report.json": "{}"}
    guard = LatentGuard(own.model, own.bank, "strict", own.canary, fitted_for=fitted, documents=documents)
    for name in ("whole", "edited"):
        guard.save_pretrained(tmp_path / "hub" / "me" / name)
    with (tmp_path / "hub" / "me" / "edited" / "policy.yaml").open("a") as file:
        file.write("description: harmless\n")
    with local_hub(tmp_path / "hub") as address:
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", WHOLE], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["fingerprints"] == [own.model.fingerprint()] * 2
    assert (told["policy"], told["bank"]) == (["own", guard.policies.digest], own.bank.digest)
    assert (told["fitted for"], told["documents"]) == (json.loads(json.dumps(fitted.to_dict())), documents)
    assert "policy.yaml is not the file that its manifest names" in told["refused"]


def test_a_policy_is_meant_by_its_name_its_file_or_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: {measures: [flag, block]}\n")
    guard = LatentGuard.from_pretrained(bundle_folder() / "guard", policy="strict")
    assert guard.policies.name == "strict"
    for policy, name in ((file, "mine"), (str(file), "mine"), ("flag", "flag"), (Policy(retries=1), "custom")):
        assert LatentGuard(guard.model, guard.bank, policy).policies.name == name
    assert LatentGuard(guard.model, guard.bank, Policies("two", Policy())).policies.name == "two"


def test_an_unknown_policy_is_one_line_with_those_that_there_are() -> None:
    guard = shipped.guard()
    for use in (
        lambda: LatentGuard(guard.model, guard.bank, "hope"),
        lambda: guard.attach(None, "hope"),
        lambda: guard.generate(shipped.pipeline(), "a cat", "hope"),
        lambda: shipped.guard("hope"),
    ):
        with pytest.raises(InputError) as refused:
            use()
        assert str(refused.value) == (
            "unknown policy 'hope'; choose one of safe, steer, resample, block, flag, lenient, standard, strict, "
            "or name a policy file (YAML)"
        )


def test_what_is_no_folder_no_hub_id_and_no_short_name_is_one_line(tmp_path: Path) -> None:
    for load in (LatentCLIP.from_pretrained, LatentGuard.from_pretrained):
        with pytest.raises(CheckpointError, match=r"in nowhere: it is neither a folder nor a hub id of"):
            load("nowhere")
    with pytest.raises(
        InputError, match=r"nowhere is neither .* owner/name, nor one of shipped, shipped-few-step, shipped-flow$"
    ):
        loading.load_pipeline("nowhere", 1, 1)


def test_a_guard_without_a_bank_says_where_one_was_looked_for(tmp_path: Path) -> None:
    shutil.copytree(bundle_folder() / "guard", tmp_path / "guard")
    with pytest.raises(
        CheckpointError, match=f"no bank lies in {tmp_path / 'guard'} or beside it; name one with bank="
    ):
        LatentGuard.from_pretrained(tmp_path / "guard")
    assert LatentGuard.from_pretrained(tmp_path / "guard", bank=bundle_folder() / "bank").bank.categories


def test_a_bank_in_the_guards_folder_comes_before_one_beside_it(tmp_path: Path) -> None:
    shutil.copytree(bundle_folder() / "guard", tmp_path / "guard")
    bank = ConceptBank.load(bundle_folder() / "bank")
    bank.save(tmp_path / "bank")
    bank.with_thresholds(bank.noise_levels, bank.thresholds + 1).save(tmp_path / "guard" / "bank")
    guard = LatentGuard.from_pretrained(tmp_path / "guard")
    assert float((guard.bank.thresholds - bank.thresholds).mean()) == pytest.approx(1, abs=1e-3)


def test_what_ships_is_two_calls_away_with_the_arguments_of_its_calibration() -> None:
    assert shipped.ARGUMENTS == {"num_inference_steps": 20, "guidance_scale": 1.5}
    assert shipped.FEW_STEP_ARGUMENTS == {"num_inference_steps": 4, "guidance_scale": 1.0}
    guard, pipe = latent_guard.shipped.guard("flag"), shipped.pipeline(few_step=True)
    calibration = guard.bank.calibration
    assert calibration is not None
    assert f"{shipped.ARGUMENTS['num_inference_steps']} steps" in calibration.made_by
    output = guard.generate(pipe, "a birthday party", seed=0, **shipped.FEW_STEP_ARGUMENTS)
    assert [verdict.decision.value for verdict in output.verdicts] == ["allowed"]
