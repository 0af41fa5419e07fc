"""A concept bank on disk: ``bank.safetensors`` with its tensors, ``bank.json`` with everything in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from latent_guard.concepts.bank import Concept, ConceptBank, Source
from latent_guard.concepts.report import CalibrationReport
from latent_guard.errors import CheckpointError, InputError
from latent_guard.whole_files import write_whole

TENSORS, WORDS = "bank.safetensors", "bank.json"
FORMATS = (1, 2)  # the first knows neither sources nor scoring nor calibration


def write_bank(bank: ConceptBank, folder: Path) -> None:
    """Write both files, each of them whole or not at all."""
    words = {
        "format": FORMATS[-1],
        "fingerprint": bank.fingerprint,
        "logit_scale": bank.logit_scale,
        "scoring": bank.scoring,
        "concepts": [asdict(concept) for concept in bank.concepts],
        "benign_prompts": list(bank.benign_prompts),
        "sources": [asdict(source) for source in bank.sources],
        "calibration": bank.calibration.to_dict() if bank.calibration else None,
    }
    tensors = {
        name: getattr(bank, name).contiguous() for name in ("embeddings", "benign", "noise_levels", "thresholds")
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TENSORS, save(tensors))
    write_whole(folder / WORDS, (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode())


def read_bank(folder: Path) -> ConceptBank:
    """Read what ``write_bank`` wrote, or a version before it.

    Raises:
        CheckpointError: a file is missing, corrupt or does not fit the other.
    """
    try:
        tensors = load((folder / TENSORS).read_bytes())
        words: dict[str, Any] = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        if words["format"] not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            raise CheckpointError(f"{folder / WORDS} has format {words['format']}; this version reads {known}")
        return ConceptBank(
            concepts=tuple(Concept(**concept) for concept in words["concepts"]),
            benign_prompts=tuple(words["benign_prompts"]),
            fingerprint=words["fingerprint"],
            logit_scale=float(words["logit_scale"]),
            embeddings=tensors["embeddings"].float(),
            benign=tensors["benign"].float(),
            noise_levels=tensors["noise_levels"].float(),
            thresholds=tensors["thresholds"].float(),
            **(_later_words(words) if words["format"] > 1 else {}),
        )
    except OSError as error:
        raise CheckpointError(f"no concept bank in {folder}: {error.strerror or error}") from error
    except (SafetensorError, InputError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the concept bank in {folder} is corrupt ({error}); rebuild it") from error


def _later_words(words: dict[str, Any]) -> dict[str, Any]:
    report = words["calibration"]
    return {
        "scoring": words["scoring"],
        "sources": tuple(Source(**{**s, "templates": tuple(s["templates"])}) for s in words["sources"]),
        "calibration": CalibrationReport.from_dict(report) if report is not None else None,
    }
