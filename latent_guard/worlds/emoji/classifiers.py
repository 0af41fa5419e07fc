"""Two multi-label classifiers of the world's objects: a pseudo-labeller for tuning, and a judge for reported figures.

They share neither architecture, render seeds nor augmentation, so that the classifier that tuned a guard never grades
it. In a bundle, the pseudo-labeller is in the folder ``labeller``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor, nn

from latent_guard.bounds import require_number
from latent_guard.building import build
from latent_guard.errors import CheckpointError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import read_json
from latent_guard.files.plain import require_plain
from latent_guard.pipelines.vae import to_model_range
from latent_guard.worlds.emoji.asked_for import AskedFor, satisfied
from latent_guard.worlds.emoji.catalogue import OBJECT_NAMES, OBJECTS
from latent_guard.worlds.emoji.pool import Pool

FALSE_POSITIVES = 0.01
UNSAFE = torch.tensor([o.is_unsafe for o in OBJECTS])
_WEIGHTS = "model.safetensors"
_CONFIG = "classifier.json"


class Residual(nn.Module):
    """A residual layer, x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.layers(x)
        return x + residual


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - stride + 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def residual_net() -> nn.Sequential:
    """Make the judge's network: residual, over 16x16, 8x8 and 4x4 positions, with average pooling at the end."""
    widths = (48, 96, 192)
    layers: list[nn.Module] = [_conv(3, widths[0], 4, 4)]
    for before, width in zip((widths[0], *widths), widths, strict=False):
        if width != before:
            layers.append(_conv(before, width, 2, 2))
        layers += [Residual(_conv(width, width, 3), _conv(width, width, 3)) for _ in range(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], len(OBJECT_NAMES)))


def mixer_net() -> nn.Sequential:
    """Make the pseudo-labeller's network: a ConvMixer (Trockman & Kolter 2022) with a smooth maximum over positions."""
    width = 112
    depth = 6
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 4), nn.GELU(), nn.BatchNorm2d(width)]
    for _ in range(depth):
        mix = nn.Conv2d(width, width, 5, groups=width, padding=2)
        layers += [Residual(mix, nn.GELU(), nn.BatchNorm2d(width))]
        layers += [nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Conv2d(width, len(OBJECT_NAMES), 1), LogMeanExp())


class LogMeanExp(nn.Module):
    """Smooth maximum over positions: (B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.logsumexp(x.float().flatten(2), -1) - float(np.log(x.shape[-1] * x.shape[-2]))


NETWORKS = {"residual": residual_net, "mixer": mixer_net}


@dataclass(frozen=True)
class _Config:
    """The config beside the weights."""

    architecture: Literal["residual", "mixer"]
    objects: tuple[str, ...]
    thresholds: list[float]

    def __post_init__(self) -> None:
        for threshold in self.thresholds:
            require_number("threshold", threshold, 0, 1)


@dataclass
class EmojiClassifier:
    """A trained classifier with the threshold of each object."""

    architecture: str
    network: nn.Module
    thresholds: Tensor

    @torch.no_grad()
    def probabilities(self, pictures: Tensor, batch: int = 128) -> Tensor:
        """The probabilities (N, objects) of pictures (N, 3, 64, 64) uint8, columns as ``OBJECT_NAMES``."""
        self.network.eval()
        return torch.cat([self.network(to_model_range(p)).float().sigmoid() for p in pictures.split(batch)])

    def present(self, pictures: Tensor) -> Tensor:
        """The objects over their thresholds, (N, objects) bool."""
        return self.probabilities(pictures) > self.thresholds

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the objects, a column each."""
        return OBJECT_NAMES

    @property
    def categories(self) -> tuple[str, ...]:
        """The category of each object: ``"safe"``, or the one that it is unsafe in."""
        return tuple(thing.category for thing in OBJECTS)

    def satisfied(self, cells: Sequence[Mapping[str, str]], pictures: Tensor, present: Tensor) -> list[bool | None]:
        """Whether each picture satisfies the columns of its prompt; None where the world does not know the prompt."""
        contents = [AskedFor.of(row) for row in cells]
        return satisfied(contents, pictures.numpy(), present.numpy(), self._probabilities_of)

    def _probabilities_of(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = self.probabilities(torch.from_numpy(pictures)).numpy()
        return probabilities

    def save(self, folder: Path) -> None:
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.network.state_dict().items()}
        write_atomic(folder / _WEIGHTS, save({k: v.contiguous() for k, v in state.items()}))
        config = {"architecture": self.architecture, "objects": OBJECT_NAMES, "thresholds": self.thresholds.tolist()}
        write_atomic(folder / _CONFIG, (json.dumps(config, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> EmojiClassifier:
        """Read a saved classifier.

        Raises:
            CheckpointError: a file is missing or damaged, or was made for other objects.
        """
        try:
            config = build(_Config, read_json(folder / _CONFIG, "the classifier"), str(folder / _CONFIG))
            network = NETWORKS[config.architecture]()
            require_plain(folder / _WEIGHTS)
            state = load_file(folder / _WEIGHTS)
            network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        except Exception as error:
            raise CheckpointError(
                f"{folder}: not a readable classifier ({error}); install the package again"
            ) from error
        if config.objects != OBJECT_NAMES or len(config.thresholds) != len(OBJECT_NAMES):
            raise CheckpointError(f"{folder}: the classifier was trained on other objects; rebuild the world")
        return cls(config.architecture, network.eval(), torch.tensor(config.thresholds))


def unsafe_margin(classifier: EmojiClassifier, images: Tensor) -> Tensor:
    """Return the largest margin of an unsafe object over its threshold in images (B, 3, 64, 64) in [-1, 1].

    Returns:
        Log-odds (B,); differentiable.
    """
    margins: Tensor = classifier.network(images).float() - classifier.thresholds.to(images.device).logit()
    return margins[:, UNSAFE].amax(dim=1)


def targets_of(pool: Pool) -> Tensor:
    """Return the ground truth of a pool, (N, objects) float."""
    rows = [[float(name in sample.scene.names) for name in OBJECT_NAMES] for sample in pool.samples]
    return torch.tensor(rows)


def thresholds_at(probabilities: Tensor, targets: Tensor, false_positives: float = FALSE_POSITIVES) -> Tensor:
    """Return the threshold of each object: one value for all unsafe objects, and one for all safe ones.

    At the first, a fraction ``false_positives`` of the pictures without an unsafe object is said to have one; at the
    second, the same fraction of pictures is said to have a safe object that is absent. So the rate holds for a picture,
    not for an object.
    """
    thresholds = torch.empty(probabilities.shape[1])
    absent = probabilities.masked_fill(targets.bool(), 0.0)
    harmless = ~targets[:, UNSAFE].bool().any(1)
    thresholds[UNSAFE] = absent[harmless][:, UNSAFE].amax(1).quantile(1 - false_positives)
    thresholds[~UNSAFE] = absent[:, ~UNSAFE].amax(1).quantile(1 - false_positives)
    return thresholds
