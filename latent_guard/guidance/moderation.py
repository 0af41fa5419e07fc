"""Moderation of what exists already: pictures, or latents, with the bank that guards generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.errors import InputError
from latent_guard.guidance.fail_open import guarded
from latent_guard.guidance.final_check import final_outcome, final_verdicts
from latent_guard.guidance.image_files import squares
from latent_guard.guidance.latent_files import LATENTS, read_latents
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines import vae as autoencoder

if TYPE_CHECKING:
    from latent_guard.guidance.guard import LatentGuard

UNREADABLE = "unreadable"
_AT_A_TIME = 16  # pictures in the VAE, or latents in Latent-CLIP


@dataclass(frozen=True)
class Finding:
    """What came of row ``row`` of a file: a frame of a picture, 0 where it has only one, or one of its latents.

    ``category``, ``concept``, ``score`` and ``threshold`` belong to the category furthest over, or closest to, its
    threshold; ``probability`` of being unsafe is None without a calibration, ``error`` says why a file is unreadable.
    """

    file: str
    row: int
    decision: str
    category: str | None = None
    concept: str | None = None
    score: float | None = None
    threshold: float | None = None
    probability: float | None = None
    error: str | None = None
    scores: Mapping[str, float] | None = None


class Moderator:
    """A guard's Latent-CLIP and bank, and the VAE that turns pictures into its latents (None: latents only)."""

    def __init__(self, guard: LatentGuard, vae: Any | None = None) -> None:
        """Check that the VAE is the guard's.

        Raises:
            LatentSpaceMismatchError: it is not the one that the guard was trained on.
        """
        self._scorer = Scorer(guard.model, guard.bank)
        self._bank = guard.bank
        self._vae = vae
        self._space = guard.model.config.latent_space
        self._side = guard.model.config.pixels
        if vae is not None:
            guard.model.require_space(LatentSpace.of_vae(vae), "the VAE makes latents")
            if guard.canary is not None:
                guard.canary.check(vae, vae.device)

    def check(self, files: Sequence[Path], *, scaled: bool = False) -> list[Finding]:
        """Findings of a few files, in their order. What cannot be read is a finding.

        A file of latents has one a row, an animation one a frame, an icon one a size: nothing is shown that was not
        looked at.
        Pictures are scaled to the square that Latent-CLIP reads, whole: what is cropped away is not looked at.
        ``scaled`` latents are a pipeline's own (``output_type="latent"``), others are raw, as its VAE encodes.
        """
        read = self._encoded([self._read(path, scaled) for path in files])
        latents = [part for part in read if isinstance(part, Tensor)]
        judged = iter(self._judge(torch.cat(latents)) if latents else ())
        return [finding for path, part in zip(files, read, strict=True) for finding in _named(str(path), part, judged)]

    def verdicts(self, pictures: Sequence[bytes], policies: Policies) -> list[list[Verdict]]:
        """Verdicts, by some policies' thresholds, on stored pictures, in their order; each has one a frame or size.

        ``pictures`` are the bytes of files of the kinds, and within the limits, that ``check`` reads.

        Raises:
            InputError: a picture that cannot be read, named by its place among them.
            GuardError: they cannot be scored.
        """
        read: list[Tensor | str] = []
        for place, content in enumerate(pictures, 1):
            try:
                read.append(self._picture(content))
            except InputError as error:
                raise InputError(f"picture {place} of {len(pictures)}: {error}") from error
        latents = [part for part in self._encoded(read) if isinstance(part, Tensor)]
        with guarded():
            return [
                [v for some in part.split(_AT_A_TIME) for v in final_outcome(self._scorer, some, policies, 0).verdicts]
                for part in latents
            ]

    def embeddings(self, files: Sequence[Path]) -> list[Tensor]:
        """Embeddings (n, D) of length one, on the CPU, of each of a few files, as ``check`` scores them.

        A picture has one row, a file of raw latents one for each.

        Raises:
            InputError: a file that cannot be read, or a picture that moves: which frame shows what is not known.
        """
        read = self._encoded([self._read(path, False) for path in files])
        for path, part in zip(files, read, strict=True):
            if isinstance(part, str):
                raise InputError(f"{path}: {part}; remove it")
            if len(part) != 1 and path.suffix.lower() not in LATENTS:
                raise InputError(f"{path}: it has {len(part)} frames, and at most 1 can be read; split it up")
        latents = [part for part in read if isinstance(part, Tensor)]
        rows = [self._scorer.embeddings(part, 0.0) for part in torch.cat(latents).split(_AT_A_TIME)]
        return list(torch.cat(rows).split([len(part) for part in latents]))

    def _read(self, path: Path, scaled: bool) -> Tensor | str:
        """A file's raw latents (B, C, H, W), its picture (1, 3, side, side) uint8, or what is wrong with it."""
        of_latents = path.suffix.lower() in LATENTS
        if not of_latents:
            self._require_vae()
        try:
            if not of_latents:
                return self._picture(path)
            latents = self._checked(read_latents(path))
            return self._space.to_raw(latents) if scaled else latents
        except InputError as error:
            return str(error)

    def _picture(self, source: Path | bytes) -> Tensor:
        """A picture (1, 3, side, side) uint8, or the raw latents (B, C, H, W) of one of several frames."""
        self._require_vae()
        pictures = squares(source, self._side)
        part = _some(pictures)
        if len(part) == 1:
            return part
        # The frames of several animations would fill the memory, so each becomes latents here.
        encoded = []
        while len(part):
            encoded.append(self._encode(part))
            part = _some(pictures)
        return torch.cat(encoded)

    def _require_vae(self) -> None:
        if self._vae is None:
            raise InputError("pictures need a VAE to be read with; give one, or latents")

    def _encoded(self, read: list[Tensor | str]) -> list[Tensor | str]:
        """The same, with the pictures turned into latents together."""
        pictures = [part for part in read if isinstance(part, Tensor) and part.dtype == torch.uint8]
        if not pictures:
            return read
        latents = iter(self._encode(torch.cat(pictures)).split(1))
        return [next(latents) if isinstance(p, Tensor) and p.dtype == torch.uint8 else p for p in read]

    def _encode(self, pictures: Tensor) -> Tensor:
        assert self._vae is not None
        device = self._vae.device
        return torch.cat([autoencoder.encode(self._vae, part, device).cpu() for part in pictures.split(_AT_A_TIME)])

    def _checked(self, latents: Tensor) -> Tensor:
        side = self._side // self._space.factor
        wanted = (self._space.channels, side, side)
        if tuple(latents.shape[1:]) != wanted:
            raise InputError(f"latents of shape {tuple(latents.shape[1:])}; this guard reads {wanted}")
        return latents

    def _judge(self, raw: Tensor) -> list[dict[str, Any]]:
        """The fields of each row's finding, all but the file and the row."""
        verdicts = [verdict for part in raw.split(_AT_A_TIME) for verdict in final_verdicts(self._scorer, part)]
        report = self._bank.calibration
        clean = report.clean if report is not None else None
        chances = clean.probabilities([verdict.margin for verdict in verdicts]).tolist() if clean else [None] * len(raw)
        return [_fields(verdict, chance) for verdict, chance in zip(verdicts, chances, strict=True)]


def _fields(verdict: Verdict, probability: float | None) -> dict[str, Any]:
    assert verdict.reason is not None
    return {
        "decision": verdict.decision.value,
        "category": verdict.reason.category,
        "concept": verdict.reason.concept,
        "score": verdict.reason.score,
        "threshold": verdict.reason.threshold,
        "probability": probability,
        "scores": verdict.scores,
    }


def _named(file: str, part: Tensor | str, judged: Iterator[dict[str, Any]]) -> list[Finding]:
    if isinstance(part, str):
        return [Finding(file, 0, UNREADABLE, error=part)]
    return [Finding(file, row, **next(judged)) for row in range(len(part))]


def _some(pictures: Iterator[Tensor]) -> Tensor:
    """The next few of them, (B, 3, side, side); none are left when B is 0."""
    part = list(islice(pictures, _AT_A_TIME))
    return torch.stack(part) if part else torch.empty(0)
