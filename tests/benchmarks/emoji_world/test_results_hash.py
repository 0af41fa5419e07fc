"""The recorded figures belong to the bundle that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_guard.bench.runs.provenance import manifest_hash

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
BUNDLE = ROOT / "latent_guard" / "worlds" / "emoji" / "bundle"


def test_results_were_measured_on_the_bundle_that_ships() -> None:
    for path in (RESULTS, BUNDLE / "manifest.json"):
        if not path.exists():
            pytest.skip(f"{path.relative_to(ROOT)} does not exist yet")
    recorded = [line for line in RESULTS.read_text(encoding="utf-8").splitlines() if line.startswith("- bundle: ")]
    assert recorded == [f"- bundle: {manifest_hash(BUNDLE)}"], "run `benchmarks.emoji_world emoji` again on this bundle"
