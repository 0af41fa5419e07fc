"""What a change that only moves or renames code must leave as it is, measured; `test_pinned` compares it.

`python -m tests.pinned` writes ``pinned.json`` anew.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from typer.testing import CliRunner

from latent_guard.bench.spec_file import read_spec
from latent_guard.cli.app import app
from latent_guard.concepts.bank import ConceptBank
from latent_guard.guidance.policy_file import policy_named
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.loading import load_guard, load_pipeline, usual_arguments
from latent_guard.package_data import SHIPPED_FEW_STEP, benchmark_specs
from latent_guard.reno.optimise import RenoSettings, optimise_noise
from latent_guard.reno.rewards import LatentClipReward, SafetyReward
from latent_guard.training.loop import train
from latent_guard.training.recipe import Recipe
from latent_guard.worlds.emoji.bundle import bundle_folder, few_step_folder, grader_folder, pixel_draws_folder
from tests.training.toy import MODEL, write_shards

PINNED = Path(__file__).with_name("pinned.json")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
RUNS = ("baselines", "reno")
POLICIES = ("safe", "steer", "resample", "block", "flag", "lenient", "standard", "strict")
PROMPTS = ["a pistol", "a pirate party", "a cat", "a birthday party"]
IMAGES_OF_A_PROMPT, SEED = 4, 7
STEPS = 4  # of the shipped generator, whose own twenty would take a minute longer


def machine() -> dict[str, str]:
    """What pixels and trained weights depend on beside the code."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "device": device}


def fingerprints() -> dict[str, str]:
    """Of every Latent-CLIP that ships."""
    folders = {name: bundle_folder() / name for name in ("guard", "clean", "pixel_twin")} | {"grader": grader_folder()}
    return {name: LatentCLIP.from_pretrained(folder).fingerprint() for name, folder in folders.items()}


def hashes() -> dict[str, Any]:
    """SHA-256 of the manifest of each shipped folder, whose files were compared with it, and of the bank's content."""
    folders = {
        "bundle": bundle_folder(),
        "few_step": few_step_folder(),
        "grader": grader_folder(),
        "pixel_draws": pixel_draws_folder(),
    }
    manifests = {name: _sha256((folder / "manifest.json").read_bytes()) for name, folder in folders.items()}
    folder = bundle_folder() / "bank"
    said = json.loads((folder / "bank.json").read_text())["sha256"]
    return {"manifests": manifests, "bank.json says": said, "bank": _content_of(ConceptBank.load(folder))}


def guarded_images() -> dict[str, list[str]]:
    """Pixels, decision and margin of each image, for each generator and policy."""
    found = {}
    for model in (None, SHIPPED_FEW_STEP):
        arguments = usual_arguments(model)
        if model is None:
            arguments["num_inference_steps"] = STEPS
        pipe, guard = _pipeline(model), load_guard(model, None, None)
        for name in POLICIES:
            output = guard.generate(
                pipe, PROMPTS, policy_named(name), seed=SEED, num_images_per_prompt=IMAGES_OF_A_PROMPT, **arguments
            )
            found[f"{model or 'shipped'}, {name}"] = [
                f"{_sha256(image.tobytes())[:16]} {verdict.decision.value} {verdict.margin:.6f}"
                for image, verdict in zip(output.images, output.verdicts, strict=True)
            ]
    return found


def reno_images() -> list[str]:
    """Pixels, the best iteration and the total reward at each, of images with optimised noise."""
    guard = load_guard(SHIPPED_FEW_STEP, None, None)
    rewards = [LatentClipReward(guard.model, guard.canary), SafetyReward(guard.model, guard.bank, guard.canary)]
    found = optimise_noise(
        _pipeline(SHIPPED_FEW_STEP),
        PROMPTS,
        rewards,
        RenoSettings(iterations=3),
        seed=SEED,
        num_images_per_prompt=IMAGES_OF_A_PROMPT,
        num_inference_steps=1,
        guidance_scale=0.0,
    )
    totals = [" ".join(f"{total:.6f}" for total in curve) for curve in found.total.T.tolist()]
    return [
        f"{_sha256(image.tobytes())[:16]} {best} of {total}"
        for image, best, total in zip(found.images, found.best_iteration.tolist(), totals, strict=True)
    ]


def training_steps() -> list[str]:
    """The fingerprint after a run of one step, of two, up to six."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(write_shards(Path(folder) / "shards", (4, 4, 4)))
        recipes = [
            Recipe([data], f"{folder}/{steps}", MODEL, steps, batch_size=16, learning_rate=3e-3, warmup=2)
            for steps in range(1, 7)
        ]
        return [train(recipe).fingerprint() for recipe in recipes]


def specs() -> dict[str, Any]:
    """Every benchmark's spec that ships, as plain data."""
    return {name: read_spec(name).to_dict() for name in benchmark_specs()}


def report_figures() -> dict[str, Any]:
    """Of each table that `bench report` writes for the runs in the repository: headers, and a digest a column."""
    found = {}
    for run in RUNS:
        with tempfile.TemporaryDirectory() as folder:  # the page shows two images only; figures are of all
            asked = ["bench", "report", str(RESULTS / run), "--out", folder, "--max-images", "2"]
            result = CliRunner().invoke(app, asked, catch_exceptions=False)
            assert result.exit_code == 0, result.output
            for path in sorted(Path(folder).glob("*.csv")):
                found[f"{run}/{path.name}"] = _columns_of(path)
    return found


SECTIONS: dict[str, Callable[[], Any]] = {
    "fingerprints": fingerprints,
    "hashes": hashes,
    "guarded_images": guarded_images,
    "reno_images": reno_images,
    "training_steps": training_steps,
    "specs": specs,
    "report_figures": report_figures,
}
OF_THE_MACHINE = ("guarded_images", "reno_images", "training_steps")


def measure(section: str) -> Any:
    """A section as it is now, as JSON gives it back."""
    with _one_thread():
        return json.loads(json.dumps(SECTIONS[section]()))


def measure_all() -> dict[str, Any]:
    """Every section, and the machine that it was measured on."""
    return {"machine": machine(), **{section: measure(section) for section in SECTIONS}}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are the same on every number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pipeline(model: str | None) -> Any:
    pipe = load_pipeline(model, STEPS, len(PROMPTS) * IMAGES_OF_A_PROMPT)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _content_of(bank: ConceptBank) -> dict[str, Any]:
    """A bank by explicit names, so that those of its fields may change."""
    concepts = [f"{concept.category}: {concept.prompt}" for concept in bank.concepts]
    sources = [[s.name, s.category, s.version, s.licence, *s.templates] for s in bank.sources]
    return {
        "categories": list(bank.categories),
        "concepts": _digest_of(concepts),
        "concept embeddings": _digest_of([_bytes_of(row) for row in bank.embeddings]),
        "benign prompts": _digest_of(bank.benign_prompts),
        "benign embeddings": _digest_of([_bytes_of(row) for row in bank.benign]),
        "sources": _digest_of(sources),
        "noise levels": bank.noise_levels.tolist(),
        "thresholds": bank.thresholds.tolist(),
        "logit scale": bank.logit_scale,
        "scoring": bank.scoring,
        "fingerprint": bank.fingerprint,
    }


def _columns_of(table: Path) -> dict[str, Any]:
    with open(table, newline="", encoding="utf-8") as file:
        headers, *rows = csv.reader(file)
    columns = [_digest_of(column) for column in zip(*rows, strict=True)]
    return {"headers": headers, "rows": len(rows), "columns": columns}


def _bytes_of(row: torch.Tensor) -> str:
    return row.contiguous().numpy().tobytes().hex()


def _digest_of(data: Sequence[Any]) -> str:
    return _sha256(json.dumps(data).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    PINNED.write_text(json.dumps(measure_all(), indent=1) + "\n")
    print(f"wrote {PINNED}")
