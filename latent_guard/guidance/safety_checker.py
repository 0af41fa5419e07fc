"""A guard in the place of the safety checker that some pipelines of diffusers ask for, Cosmos' among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latent_guard.guidance.fail_open import guarded
from latent_guard.guidance.final_check import final_outcome
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.handed_out import record
from latent_guard.guidance.policy import Policies
from latent_guard.guidance.policy_file import AnyPolicy, policies_of
from latent_guard.guidance.prompt_score import score_prompt
from latent_guard.guidance.scoring import Scorer
from latent_guard.guidance.verdict import Verdict
from latent_guard.pipelines.vae import MID_GRAY, encode

FRAMES = 8  # encoded at a time


class SafetyChecker:
    """``pipe.enable_safety_checker(SafetyChecker(guard, pipe.vae))``, or the ``safety_checker`` of a pipeline's class.

    Weaker than ``guard.attach(pipe)``, and dearer: it gets pixels, when they are made, and encodes them. Frames are
    judged as stills. ``verdicts`` has one entry a video; they are recorded as those of ``attach`` are.
    """

    def __init__(self, guard: LatentGuard, vae: Any, policy: AnyPolicy | None = None) -> None:
        """A checker by a guard's own policy, or by another one.

        Raises:
            LatentSpaceMismatchError: the VAE is not the guard's.
        """
        if guard.canary is not None:
            guard.canary.check(vae, vae.device)
        self.verdicts: list[Verdict] = []
        self._vae = vae
        self._bank, self._audit, self._events = guard.bank, guard.audit, guard.events
        self._scorer = Scorer(guard.model, guard.bank)
        self._policies: Policies = guard.policies if policy is None else policies_of(policy)

    def to(self, device: Any) -> SafetyChecker:
        """As of a module; the guard stays where it is."""
        return self

    def check_text_safety(self, prompt: str) -> bool:
        """False for a prompt whose text scores above the policy's ``prompt_trigger``; without one every text passes."""
        trigger = self._policies.prompt_trigger
        if trigger is None:
            return True
        with guarded():
            safe = not score_prompt(self._scorer, prompt, trigger).flagged
        return safe

    def check_video_safety(self, frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The frames (T, H, W, 3), uint8, of a video, mid-gray if the policy blocks it.

        NVIDIA's checker gives None instead, which not every pipeline of diffusers expects.

        Raises:
            GuardError: the guard failed, or its verdict cannot be written down.
        """
        with guarded():
            pictures = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1)
            raw = torch.cat([encode(self._vae, some) for some in pictures.split(FRAMES)])
            video = raw.transpose(0, 1)[None]
            outcome = final_outcome(self._scorer, video, self._policies, len(self.verdicts))
        record(outcome.verdicts, None, self._policies, self._bank, self._audit, events=self._events)
        self.verdicts += outcome.verdicts
        return np.full_like(frames, MID_GRAY) if bool(outcome.masked[0]) else frames
