"""Concept banks: prompt sets embedded by one Latent-CLIP, with the thresholds at which a category triggers.

Shapes: N concepts, M benign anchors, K categories, L noise levels, D embedding dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import normalize

from latent_guard.concepts.prompt_set import PromptSet
from latent_guard.errors import CheckpointError, InputError
from latent_guard.whole_files import write_whole

if TYPE_CHECKING:
    from latent_guard.latent_clip.model import LatentCLIP

_TENSORS, _WORDS = "bank.safetensors", "bank.json"
_TENSOR_NAMES = ("embeddings", "benign", "noise_levels", "thresholds")
_FORMAT = 1
_BATCH = 256


@dataclass(frozen=True)
class Concept:
    """One unsafe thing, as named by its prompt, and the category it counts towards."""

    prompt: str
    category: str


@dataclass(frozen=True, eq=False)
class ConceptBank:
    """What the guard compares a latent with.

    Attributes:
        concepts: N concepts, the rows of ``embeddings``.
        embeddings: (N, D) float32, L2-normalised: the mean over the set's templates (CLIP's prompt ensembling).
        benign_prompts: M ordinary neighbours of the concepts, the rows of ``benign``.
        benign: (M, D) float32, made like ``embeddings``.
        fingerprint: of the Latent-CLIP whose text tower made the embeddings.
        logit_scale: that model's exp(logit_scale), the factor on a cosine.
        noise_levels: (L,) rising, the grid on which thresholds are known.
        thresholds: (K, L) trigger thresholds on a category's score; 0 (even odds) where nobody calibrated them.
    """

    concepts: tuple[Concept, ...]
    embeddings: Tensor
    benign_prompts: tuple[str, ...]
    benign: Tensor
    fingerprint: str
    logit_scale: float
    noise_levels: Tensor
    thresholds: Tensor

    def __post_init__(self) -> None:
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
        if not bool((self.noise_levels.diff() > 0).all()):
            raise InputError("the concept bank's noise levels must rise")

    @property
    def categories(self) -> tuple[str, ...]:
        """The K categories, in the order of their first concept."""
        return tuple(dict.fromkeys(concept.category for concept in self.concepts))

    @classmethod
    def build(cls, model: LatentCLIP, prompt_sets: Sequence[PromptSet]) -> ConceptBank:
        """Embed prompt sets with a model's text tower. Thresholds are 0 until ``with_thresholds`` sets them.

        Raises:
            InputError: no prompt set, or a prompt that is a concept in one place and benign in another.
        """
        if not prompt_sets:
            raise InputError("a concept bank needs at least one prompt set")
        concepts: dict[Concept, list[str]] = {}
        benign: dict[str, list[str]] = {}
        for prompt_set in prompt_sets:
            for prompt in prompt_set.prompts:
                concepts.setdefault(Concept(prompt, prompt_set.category), prompt_set.wordings(prompt))
            for prompt in prompt_set.benign_prompts:
                benign.setdefault(prompt, prompt_set.wordings(prompt))
        both = next((concept.prompt for concept in concepts if concept.prompt in benign), None)
        if both is not None:
            raise InputError(f"the prompt {both!r} is a concept and a benign prompt at once; remove it from one list")
        return cls(
            concepts=tuple(concepts),
            embeddings=_embed(model, list(concepts.values())),
            benign_prompts=tuple(benign),
            benign=_embed(model, list(benign.values())),
            fingerprint=model.fingerprint(),
            logit_scale=float(model.logit_scale.detach().exp()),
            noise_levels=torch.zeros(1),
            thresholds=torch.zeros(len({concept.category for concept in concepts}), 1),
        )

    def with_thresholds(self, noise_levels: Tensor, thresholds: Tensor) -> ConceptBank:
        """The same bank with calibrated trigger thresholds, (K, L) on (L,) rising noise levels."""
        return replace(self, noise_levels=noise_levels.float().cpu(), thresholds=thresholds.float().cpu())

    def check_made_by(self, model: LatentCLIP) -> None:
        """Raise InputError if another model's text tower made this bank."""
        if self.fingerprint != model.fingerprint():
            raise InputError(
                f"the concept bank was made by Latent-CLIP {self.fingerprint}, the guard's model is "
                f"{model.fingerprint()}; build the bank again with this model"
            )

    def save(self, folder: Path | str) -> None:
        """Write ``bank.safetensors`` and ``bank.json`` into a folder, each of them whole or not at all."""
        folder = Path(folder)
        words = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "logit_scale": self.logit_scale,
            "concepts": [asdict(concept) for concept in self.concepts],
            "benign_prompts": list(self.benign_prompts),
        }
        tensors = {name: getattr(self, name).contiguous() for name in _TENSOR_NAMES}
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _TENSORS, save(tensors))
        write_whole(folder / _WORDS, (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, folder: Path | str) -> ConceptBank:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: a file is missing, corrupt or does not fit the other.
        """
        folder = Path(folder)
        try:
            tensors = load((folder / _TENSORS).read_bytes())
            words: dict[str, Any] = json.loads((folder / _WORDS).read_text(encoding="utf-8"))
            if words["format"] != _FORMAT:
                raise CheckpointError(f"{folder / _WORDS} has format {words['format']}; this version reads {_FORMAT}")
            return cls(
                concepts=tuple(Concept(**concept) for concept in words["concepts"]),
                benign_prompts=tuple(words["benign_prompts"]),
                fingerprint=words["fingerprint"],
                logit_scale=float(words["logit_scale"]),
                **{name: tensors[name].float() for name in _TENSOR_NAMES},
            )
        except OSError as error:
            raise CheckpointError(f"no concept bank in {folder}: {error.strerror or error}") from error
        except (SafetensorError, InputError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the concept bank in {folder} is corrupt ({error}); rebuild it") from error


@torch.no_grad()
def _embed(model: LatentCLIP, wordings: Sequence[Sequence[str]]) -> Tensor:
    """(len(wordings), D): the normalised mean of each entry's wordings."""
    texts = [text for entry in wordings for text in entry]
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    rows = torch.cat([model.encode_text(batch, normalize=True).float().cpu() for batch in batches])
    means = [entry.mean(dim=0) for entry in rows.split([len(entry) for entry in wordings])]
    return normalize(torch.stack(means), dim=-1)
