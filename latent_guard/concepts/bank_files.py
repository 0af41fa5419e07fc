"""A concept bank on disk: ``bank.safetensors`` with its tensors, ``bank.json`` with everything in words.

A bank is one thing: ``bank.json`` holds a SHA-256 over its own words and the bytes of the tensors, so that neither can
be changed, cut or taken from another bank without that being said. It is no signature.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from latent_guard.concepts.bank import Concept, ConceptBank, Source
from latent_guard.concepts.calibration_report import CalibrationReport
from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.files.atomic import write_whole
from latent_guard.files.documents import read_bytes, read_json

TENSORS, WORDS = "bank.safetensors", "bank.json"
FORMATS = (1, 2, 3)  # the first knows neither sources nor scoring nor calibration, the second no digest
DIGEST = "sha256"


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
    tensors = save(
        {name: getattr(bank, name).contiguous() for name in ("embeddings", "benign", "noise_levels", "thresholds")}
    )
    words = {DIGEST: _digest(words, tensors), **words}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TENSORS, tensors)
    write_whole(folder / WORDS, (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode())


def read_bank(folder: Path) -> ConceptBank:
    """Read what ``write_bank`` wrote, or a version before it; one without a digest is read with a warning.

    Raises:
        CheckpointError: a file is missing, corrupt or does not fit the other.
    """
    try:
        content = read_bytes(folder / TENSORS, "the bank's tensors")
        words: dict[str, Any] = read_json(folder / WORDS, "the bank's words")
    except InputError as error:
        if not ((folder / TENSORS).exists() and (folder / WORDS).exists()):
            raise CheckpointError(f"no concept bank in {folder}: {error}") from error
        raise CheckpointError(f"the concept bank in {folder} is corrupt: {error}; rebuild it") from error
    try:
        if words["format"] not in FORMATS:
            known = ", ".join(map(str, FORMATS))
            raise CheckpointError(f"{folder / WORDS} has format {words['format']}; this version reads {known}")
        _require_one_thing(folder, words, content)
        tensors = load(content)
        return ConceptBank(
            concepts=tuple(Concept(**concept) for concept in words["concepts"]),
            benign_prompts=tuple(words["benign_prompts"]),
            fingerprint=words["fingerprint"],
            logit_scale=words["logit_scale"],
            embeddings=tensors["embeddings"].float(),
            benign=tensors["benign"].float(),
            noise_levels=tensors["noise_levels"].float(),
            thresholds=tensors["thresholds"].float(),
            **(_later_words(words) if words["format"] > 1 else {}),
        )
    except (SafetensorError, InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the concept bank in {folder} is corrupt ({reason_of(error)}); rebuild it") from error


def _digest(words: dict[str, Any], tensors: bytes) -> str:
    """Over all words but the digest itself, and the whole file of tensors."""
    told = json.dumps({key: value for key, value in words.items() if key != DIGEST}, sort_keys=True)
    return hashlib.sha256(told.encode() + b"\n" + tensors).hexdigest()


def _require_one_thing(folder: Path, words: dict[str, Any], tensors: bytes) -> None:
    if words["format"] < 3:
        warnings.warn(
            f"the concept bank in {folder} carries no digest, so that a change of it would not be noticed; "
            "write it again with `latent-guard concepts build` or `calibrate`",
            stacklevel=4,
        )
    elif words[DIGEST] != _digest(words, tensors):
        raise CheckpointError(
            f"the concept bank in {folder} is corrupt: {TENSORS} and {WORDS} are not as they were written together "
            "(the SHA-256 differs); copy both again, or rebuild the bank"
        )


def _later_words(words: dict[str, Any]) -> dict[str, Any]:
    report = words["calibration"]
    return {
        "scoring": words["scoring"],
        "sources": tuple(Source(**{**s, "templates": tuple(s["templates"])}) for s in words["sources"]),
        "calibration": CalibrationReport.from_dict(report) if report is not None else None,
    }
