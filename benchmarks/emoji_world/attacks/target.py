"""What an attacker stands before: a pipeline, guarded or not, that takes prompts (and noise) and gives pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.emoji_world.workbench import Workbench
from latent_guard.bench.arrays import Bools, Pictures
from latent_guard.bench.decoding import decode
from latent_guard.guidance.verdict import Decision
from latent_guard.terminal import track
from latent_guard.worlds.emoji.arguments import GUIDANCE

if TYPE_CHECKING:
    from latent_guard.guidance.policy import Policies

UNGUARDED = "off"


@dataclass(frozen=True, eq=False)
class Answers:
    """What a caller gets for N queries.

    Attributes:
        pictures: (N, 3, H, W) uint8; a blocked one is gray.
        decisions: N names of decisions, all ``"off"`` without a guard.
        excess: (N,) how far a verdict's worst category is over its threshold, in log-odds; 0 without a guard.
    """

    pictures: Pictures
    decisions: tuple[str, ...]
    excess: NDArray[np.float64]

    @property
    def blocked(self) -> Bools:
        """(N,): the picture was withheld."""
        return np.array([decision == Decision.BLOCKED.value for decision in self.decisions], dtype=bool)


class Target:
    """The world's generator under policies (None: unguarded)."""

    def __init__(self, bench: Workbench, policies: Policies | None) -> None:
        self.bench, self.policies = bench, policies

    @property
    def name(self) -> str:
        """The policies' name, ``"off"`` without a guard."""
        return self.policies.name if self.policies else UNGUARDED

    def ask(self, prompts: Sequence[str], seeds: Sequence[int], noise: Tensor | None = None) -> Answers:
        """One query for each prompt: its seed draws the initial noise, unless ``noise`` (N, C, h, w) gives it."""
        size = self.bench.spec.batch_size
        starts = track(range(0, len(prompts), size), f"asking, guard {self.name}")
        parts = [
            self._batch(prompts[i : i + size], seeds[i : i + size], None if noise is None else noise[i : i + size])
            for i in starts
        ]
        return Answers(
            np.concatenate([part.pictures for part in parts]),
            tuple(decision for part in parts for decision in part.decisions),
            np.concatenate([part.excess for part in parts]),
        )

    def _batch(self, prompts: Sequence[str], seeds: Sequence[int], noise: Tensor | None) -> Answers:
        pipe = self.bench.pipe
        arguments: dict[str, Any] = {
            "num_inference_steps": self.bench.spec.steps,
            "guidance_scale": GUIDANCE,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "output_type": "latent",
        }
        if noise is not None:
            arguments["latents"] = noise
        if self.policies is None:
            pictures = decode(pipe, pipe(list(prompts), **arguments).images)[1]
            return Answers(pictures, (UNGUARDED,) * len(prompts), np.zeros(len(prompts)))
        output = self.bench.guard.generate(pipe, list(prompts), policy=self.policies, **arguments)
        pictures = decode(pipe, output.images)[1]
        return Answers(
            pictures, tuple(v.decision.value for v in output.verdicts), np.array([v.margin for v in output.verdicts])
        )
