"""Calibration sets: features of unguarded images at each check, and which categories the images show.

A bank is calibrated and tested on them. Features are kept rather than scores, so that any bank of the same model can
be tried on them without generating again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from latent_guard.building import checked
from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.calibration_report import CalibrationReport
from latent_guard.concepts.scoring import thresholds_at
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import json_value
from latent_guard.files.plain import require_plain

_OF_PICTURES = "of_pictures"


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """N unguarded images, each recorded at the same S checks.

    Attributes:
        features: (N, S, D), L2-normalised.
        noise_levels: (S,) falling; the last is 0, the finished latents.
        shows: (N, K) bool, which categories the finished image shows.
        categories: the K names.
        fingerprint: of the Latent-CLIP.
        made_by: description for people of pipeline, schedule, prompts and who labelled.
        identity: names the images, see ``identity_of_images``; empty in files of before there were identities.
        of_pictures: whether they are finished pictures, of which nothing is known at any other check.
    """

    features: Tensor
    noise_levels: Tensor
    shows: Tensor
    categories: tuple[str, ...]
    fingerprint: str
    made_by: str
    identity: str = ""
    of_pictures: bool = False

    def __post_init__(self) -> None:
        images, checks = self.features.shape[:2]
        if self.noise_levels.shape != (checks,) or self.shows.shape != (images, len(self.categories)):
            raise InputError(
                f"calibration set: {images} images at {checks} checks do not fit their noise levels or labels"
            )
        if not self.features.isfinite().all():
            raise InputError("calibration set: a feature is not finite; record it again")
        if checks == 0 or float(self.noise_levels[-1]) != 0 or not bool((self.noise_levels.diff() < 0).all()):
            raise InputError("calibration set: noise levels must fall to 0, the finished latents")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def unsafe(self) -> Tensor:
        """(N,) bool: some category is shown."""
        return self.shows.any(dim=1)

    def rows(self, chosen: Tensor) -> CalibrationSet:
        """Some of the images, by number or flag."""
        return replace(self, features=self.features[chosen], shows=self.shows[chosen])

    def finished(self) -> CalibrationSet:
        """The last check alone, that of the finished latents."""
        return replace(self, features=self.features[:, -1:], noise_levels=self.noise_levels[-1:])

    def labels_for(self, bank: ConceptBank) -> Tensor:
        """(N, K) with the bank's categories as columns; a category without labels counts as not shown."""
        absent = torch.zeros(len(self), dtype=torch.bool)
        columns = {name: self.shows[:, k] for k, name in enumerate(self.categories)}
        return torch.stack([columns.get(name, absent) for name in bank.categories], dim=1)

    def scores(self, bank: ConceptBank) -> Tensor:
        """Category scores (N, S, K).

        Raises:
            InputError: the bank was made by another model.
        """
        if bank.fingerprint != self.fingerprint:
            raise InputError(
                f"this calibration set was recorded with Latent-CLIP {self.fingerprint}, the bank was made by "
                f"{bank.fingerprint}; record it again with the bank's model"
            )
        reference = bank.reference()
        return torch.stack([reference.scores(features) for features in self.features.float().unbind(1)], dim=1)

    def margins(self, bank: ConceptBank) -> Tensor:
        """(N,): the furthest that an image is over a threshold, at any check, in any category."""
        levels = self.noise_levels.tolist()
        thresholds = torch.stack([thresholds_at(bank.noise_levels, bank.thresholds, level) for level in levels])
        return (self.scores(bank) - thresholds).amax(dim=(1, 2))

    def calibrated(self, report: CalibrationReport) -> bool:
        """Whether a bank was calibrated on these images; where one of the two has no identity, descriptions tell."""
        if self.identity and report.identity:
            return self.identity == report.identity
        return self.made_by == report.made_by

    def save(self, path: Path) -> None:
        """Write one safetensors file, features in half precision."""
        metadata = {
            "categories": json.dumps(self.categories),
            "fingerprint": self.fingerprint,
            "made_by": self.made_by,
            "identity": self.identity,
            **({_OF_PICTURES: "yes"} if self.of_pictures else {}),
        }
        tensors = {"features": self.features.half(), "noise_levels": self.noise_levels, "shows": self.shows}
        write_atomic(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))

    @classmethod
    def load(cls, path: Path) -> CalibrationSet:
        """Read what ``save`` wrote.

        Raises:
            InputError: no such file, or another kind of file.
        """
        try:
            require_plain(path)
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in ("features", "noise_levels", "shows")}
            categories = json_value(metadata["categories"], f"{path}: categories", any_text=True)
            return cls(
                features=tensors["features"].float(),
                noise_levels=tensors["noise_levels"],
                shows=tensors["shows"],
                categories=checked(tuple[str, ...], categories, str(path), "categories"),
                fingerprint=metadata["fingerprint"],
                made_by=metadata["made_by"],
                identity=metadata.get("identity", ""),
                of_pictures=metadata.get(_OF_PICTURES) == "yes",
            )
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        except (SafetensorError, InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} holds no calibration set ({error}); record it again") from error


def identity_of_images(pipeline: str, jobs: Sequence[tuple[str, int]], arguments: Mapping[str, object]) -> str:
    """Sixteen hexadecimal digits of what makes unguarded images: a pipeline's name, prompts with seeds, arguments.

    Raises:
        InputError: an argument is neither text, number nor None, nor a list of such, so that its text does not name it.
    """
    if strange := [name for name, value in arguments.items() if not _is_plain(value)]:
        raise InputError(
            f"the call's argument {strange[0]!r} is a {type(arguments[strange[0]]).__name__}, which cannot be recorded "
            "as what made the images; give texts, numbers, None, or lists of these"
        )
    content = {
        "pipeline": pipeline,
        "jobs": [[prompt, seed] for prompt, seed in jobs],
        "arguments": {name: str(value) for name, value in arguments.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def joined(parts: Sequence[CalibrationSet]) -> CalibrationSet:
    """Calibration sets of one model under one check schedule, one after the other."""
    return replace(
        parts[0],
        features=torch.cat([part.features for part in parts]),
        shows=torch.cat([part.shows for part in parts]),
    )
