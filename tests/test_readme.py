"""What README and docs/ show works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import EulerAncestralDiscreteScheduler

from latent_guard.testing import tiny_pipeline
from latent_guard.testing.pipelines import BETAS
from tests.local_hub.server import local_hub

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
SLOW = ("better-noise", "comparing", "concepts", "operating", "policies", "quick-start")
DRAWING = [f"docs/{name}.md" for name in SLOW]
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories that the documents name, in their own formats, with tiny models of random weights."""
    root = tmp_path_factory.mktemp("hub")
    sdxl = tiny_pipeline("StableDiffusionXLPipeline", pixels=64)
    sdxl.save_pretrained(root / "stabilityai" / "stable-diffusion-xl-base-1.0")
    turbo = EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **BETAS)
    tiny_pipeline("StableDiffusionXLPipeline", pixels=64, scheduler=turbo).save_pretrained(
        root / "stabilityai" / "sdxl-turbo"
    )
    return root


def test_the_code_of_documents_that_draw_little_runs(hub: Path, tmp_path: Path) -> None:
    run([document for document in DOCUMENTS if document not in DRAWING], hub, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("document", DRAWING)
def test_its_code_runs(document: str, hub: Path, tmp_path: Path) -> None:
    run([document], hub, tmp_path)


def run(documents: list[str], hub: Path, folder: Path) -> None:
    with local_hub(hub) as address:
        environment = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
        environment["LATENT_GUARD_HOME"] = str(folder / "guards")
        done = subprocess.run(
            [sys.executable, "-m", "tests.run_document", *(str(ROOT / document) for document in documents)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_links_lead_somewhere(document: str) -> None:
    for target in LINK.findall((ROOT / document).read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), target


def test_where_something_is_added_is_where_contributing_says() -> None:
    told = re.findall(r"`(\w+)` of `([\w/]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(told) >= 6
    for name, file in told:
        assert re.search(rf"^(def )?{name}\b", (ROOT / "latent_guard" / file).read_text(), re.MULTILINE), (name, file)


def test_the_readme_is_a_screen_or_two() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
