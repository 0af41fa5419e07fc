"""Concept banks: prompt sets embedded by one Latent-CLIP, with the thresholds at which a category triggers.

Shapes: N concepts, M benign anchors, K categories, L noise levels, D embedding dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latent_guard.bounds import Bounds
from latent_guard.concepts.bank_files import read_bank, refused_as_corrupt, write_bank
from latent_guard.concepts.calibration_report import CalibrationReport
from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.concepts.scoring import METHODS, Method, Reference, rows_of_each
from latent_guard.concepts.texts import BankTexts, Concept, embedded
from latent_guard.errors import InputError

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

TENSORS = ("embeddings", "benign", "noise_levels", "thresholds")
_LENGTH_ERROR = 0.01  # half precision leaves a length of one within 1e-3
_LOGIT_SCALE = Bounds(1e-3, 1e4)  # CLIP's is at most 100
_MAX_THRESHOLD = 10_000  # log-odds: no score of the shipped bank is over 37


@dataclass(frozen=True)
class Source:
    """A prompt set that a bank was built from, and the templates over which its prompts were averaged."""

    name: str
    category: str
    version: int
    licence: str
    templates: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ConceptBank:
    """The concepts that the guard compares a latent with, and the thresholds of their categories.

    Attributes:
        concepts: N concepts, the rows of ``embeddings``.
        embeddings: (N, D) float32, L2-normalised: the mean over the set's templates (CLIP's prompt ensembling).
        benign_prompts: M ordinary neighbours of the concepts, the rows of ``benign``.
        benign: (M, D) float32, made like ``embeddings``.
        fingerprint: of the Latent-CLIP whose text tower made the embeddings.
        logit_scale: the factor on a cosine: that model's exp(logit_scale), until calibration fits another.
        noise_levels: (L,) rising, the grid on which thresholds are known.
        thresholds: (K, L) trigger thresholds on a category's score; 0 (even odds) where they are not calibrated.
        sources: the prompt sets that it was built from.
        scoring: how concepts become a category's score, see ``Reference.by``.
        calibration: the report of ``calibrate``; None where it did not set the thresholds.
    """

    concepts: tuple[Concept, ...]
    embeddings: Tensor
    benign_prompts: tuple[str, ...]
    benign: Tensor
    fingerprint: str
    logit_scale: float
    noise_levels: Tensor
    thresholds: Tensor
    sources: tuple[Source, ...] = ()
    scoring: Method = "log-sum-exp"
    calibration: CalibrationReport | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or self.benign.ndim != 2:
            raise InputError("the concept bank's embeddings are no table, a row a concept")
        shapes = {
            "embeddings": (len(self.concepts), self.benign.shape[-1]),
            "benign": (len(self.benign_prompts), self.embeddings.shape[-1]),
            "thresholds": (len(self.categories), len(self.noise_levels)),
        }
        for name, expected in shapes.items():
            actual = tuple(getattr(self, name).shape)
            if actual != expected:
                raise InputError(f"the concept bank's {name} have shape {actual} where {expected} is needed")
            if not getattr(self, name).isfinite().all():
                raise InputError(f"the concept bank's {name} hold a value that is not finite")
        if not self.concepts or not self.benign_prompts or not len(self.noise_levels):
            raise InputError("a concept bank needs at least one concept, one benign prompt and one noise level")
        if (
            not bool((self.noise_levels.diff() > 0).all())
            or not 0 <= self.noise_levels[0] <= self.noise_levels[-1] <= 1
        ):
            raise InputError("the concept bank's noise levels must rise, from 0 at least to 1 at most")
        _LOGIT_SCALE.check("the concept bank's logit_scale", self.logit_scale)
        self._require_texts()
        for name in ("embeddings", "benign"):
            lengths = getattr(self, name).float().norm(dim=1)
            if bool(((lengths - 1).abs() > _LENGTH_ERROR).any()):
                raise InputError(f"the concept bank's {name} are not of length one; normalise them")
        if bool((self.thresholds.abs() > _MAX_THRESHOLD).any()):
            raise InputError(f"the concept bank has a threshold of over {_MAX_THRESHOLD:,}, beyond any log-odds")
        if self.scoring not in METHODS:
            raise InputError(f"the concept bank's scoring is {self.scoring!r}; known are {', '.join(METHODS)}")

    def _require_texts(self) -> None:
        sources = [(s.name, s.category, s.licence, *s.templates) for s in self.sources]
        texts = [*((c.prompt, c.category) for c in self.concepts), *((p,) for p in self.benign_prompts), *sources]
        for text in (text for row in (*texts, (self.fingerprint,)) for text in row):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"the concept bank holds {text!r} where a text is needed")

    @property
    def categories(self) -> tuple[str, ...]:
        """The K categories, in the order of their first concept."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @property
    def category_index(self) -> Tensor:
        """(N,): the number of each concept's category."""
        categories = self.categories
        return torch.tensor([categories.index(concept.category) for concept in self.concepts])

    def max_scores(self) -> Tensor:
        """(K,): an upper bound of each category's score, see ``Reference.max_scores``."""
        return self.reference().max_scores()

    def reference(self) -> Reference:
        """The concepts and benign anchors in the form in which features are scored against them."""
        concepts = self.embeddings.float().clone()  # a tensor made in inference mode would not take part in a gradient
        benign = self.benign.float().clone()
        return Reference(concepts, rows_of_each(self.category_index), benign, float(self.logit_scale)).by(self.scoring)

    @classmethod
    def build(cls, model: LatentCLIP, prompt_sets: Sequence[PromptSet]) -> ConceptBank:
        """Embed prompt sets with a model's text tower. Thresholds are 0 until ``with_thresholds`` sets them.

        Args:
            model: whose text tower embeds, and whose ``logit_scale`` the bank takes.
            prompt_sets: at least one; those of one category are put together.

        Raises:
            InputError: no prompt set, one without a prompt, an empty prompt, nothing benign, or a prompt that is a
                concept in one place and benign in another.
        """
        texts = BankTexts.of(prompt_sets)
        return cls(
            concepts=tuple(texts.concepts),
            embeddings=embedded(model, list(texts.concepts.values())),
            benign_prompts=tuple(texts.benign),
            benign=embedded(model, list(texts.benign.values())),
            fingerprint=model.fingerprint(),
            logit_scale=float(model.logit_scale.detach().exp()),
            noise_levels=torch.zeros(1),
            thresholds=torch.zeros(len({concept.category for concept in texts.concepts}), 1),
            sources=tuple(Source(s.name, s.category, s.version, s.licence, s.templates) for s in prompt_sets),
        )

    def with_thresholds(self, noise_levels: Tensor, thresholds: Tensor) -> ConceptBank:
        """The same bank with other trigger thresholds, (K, L) on (L,) rising noise levels."""
        return replace(
            self, noise_levels=noise_levels.float().cpu(), thresholds=thresholds.float().cpu(), calibration=None
        )

    def require_made_by(self, model: LatentCLIP) -> None:
        """Raise InputError if another model's text tower made this bank."""
        if self.fingerprint != model.fingerprint():
            raise InputError(
                f"the concept bank was made by Latent-CLIP {self.fingerprint}, the guard's model is "
                f"{model.fingerprint()}; build the bank again with this model"
            )

    def require_known_at_steps(self) -> None:
        """Raise InputError if its thresholds were set on finished pictures: of noisy latents they say nothing."""
        if self.calibration is not None and self.calibration.of_pictures:
            raise InputError(
                "the concept bank was calibrated on finished pictures, so its thresholds say nothing of the steps; "
                'attach with gate="decode", or calibrate it on prompts (`latent-guard concepts calibrate --benign`)'
            )

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name what scores depend on: model, concepts, scoring and thresholds."""
        content = {
            "fingerprint": self.fingerprint,
            "scoring": self.scoring,
            "logit_scale": self.logit_scale,
            "concepts": [[concept.category, concept.prompt] for concept in self.concepts],
            "benign_prompts": list(self.benign_prompts),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for tensor in (self.embeddings, self.benign, self.noise_levels, self.thresholds):
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Plain data, as JSON takes it, and the tensors by name."""
        content = {
            "fingerprint": self.fingerprint,
            "logit_scale": self.logit_scale,
            "scoring": self.scoring,
            "concepts": [asdict(concept) for concept in self.concepts],
            "benign_prompts": list(self.benign_prompts),
            "sources": [asdict(source) for source in self.sources],
            "calibration": self.calibration.to_dict() if self.calibration else None,
        }
        return content, {name: getattr(self, name) for name in TENSORS}

    @classmethod
    def from_parts(cls, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ConceptBank:
        """The opposite of ``to_parts``; ``scoring``, ``sources`` and ``calibration`` may be absent.

        Raises:
            InputError, KeyError, TypeError, ValueError, AttributeError: they are no bank's.
        """
        report = content.get("calibration")
        return cls(
            concepts=tuple(Concept(**concept) for concept in content["concepts"]),
            benign_prompts=tuple(content["benign_prompts"]),
            fingerprint=content["fingerprint"],
            logit_scale=content["logit_scale"],
            sources=tuple(Source(**{**s, "templates": tuple(s["templates"])}) for s in content.get("sources", ())),
            scoring=content.get("scoring", "log-sum-exp"),
            calibration=CalibrationReport.from_dict(report) if report is not None else None,
            **{name: tensors[name].float() for name in TENSORS},
        )

    def save(self, folder: Path | str) -> None:
        """Write ``bank.safetensors`` and ``bank.json`` into a folder, each atomically."""
        write_bank(Path(folder), *self.to_parts())

    @classmethod
    def load(cls, folder: Path | str) -> ConceptBank:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: a file is missing, corrupt or does not fit the other.
        """
        content, tensors = read_bank(Path(folder))
        with refused_as_corrupt(Path(folder)):
            return cls.from_parts(content, tensors)
