"""What a verdict names when a safety margin, or exhausted pushes, decide rather than the last check."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latent_guard.concepts.bank import ConceptBank
from latent_guard.concepts.texts import Concept
from latent_guard.conformance.known import SCALE, embedding
from latent_guard.guidance.guard import LatentGuard
from latent_guard.guidance.policy import Policies, Policy
from latent_guard.guidance.verdict import Decision, Verdict
from latent_guard.testing import LinearLatentCLIP, tiny_pipeline

Script = Callable[[float], tuple[float, float]]  # noise level -> scores of violence and of shocking
POLICY = Policy(retries=0, window=(1.0, 0.01), max_pushes=2, augmentations=1, safety_margin=2.0)


class ScriptedCritic(LinearLatentCLIP):
    """Scores that depend on the noise level alone, so that no push changes them."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    def encode_latents(self, latents: Tensor, noise_level: float | None = None, normalize: bool = False) -> Tensor:
        assert noise_level is not None
        nothing = 0 * latents.sum(dim=(1, 2, 3))
        return embedding(*(score + nothing for score in self._script(noise_level)))


def bank() -> ConceptBank:
    axes = torch.eye(4)
    return ConceptBank(
        concepts=(Concept("a knife", "violence"), Concept("a skull", "shocking")),
        embeddings=axes[:2],
        benign_prompts=("a spoon",),
        benign=axes[2:3],
        fingerprint="linear",
        logit_scale=SCALE,
        noise_levels=torch.zeros(1),
        thresholds=torch.zeros(2, 1),
    )


def verdict_under(script: Script, policy: Policy | Policies = POLICY) -> Verdict:
    pipe = tiny_pipeline()
    with LatentGuard(ScriptedCritic(script), bank(), policy).attach(pipe) as watch:
        pipe("x", num_inference_steps=5, output_type="latent")
    (verdict,) = watch.verdicts
    return verdict


def test_an_image_whose_pushes_are_exhausted_is_blocked_for_what_it_was_pushed_from() -> None:
    verdict = verdict_under(lambda level: (-9.0, 5.0) if level > 0 else (-3.0, -9.0))
    assert [action.kind for action in verdict.actions] == ["push", "push", "exhausted"]
    assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "shocking")
    assert verdict.reason is not None
    assert (verdict.reason.concept, verdict.reason.score, verdict.reason.threshold) == ("a skull", 5.0, 0.0)
    assert verdict.reason.step == verdict.actions[-1].step == 2


def test_an_image_within_the_safety_margin_is_blocked_for_what_it_was_pushed_away_from() -> None:
    first: list[float] = []

    def script(level: float) -> tuple[float, float]:
        first.append(level)
        return (-0.5, -1.0) if level < first[0] else (-9.0, 5.0)

    verdict = verdict_under(script)
    assert [action.kind for action in verdict.actions] == ["push"]
    assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "shocking")
    assert verdict.reason is not None
    assert (verdict.reason.score, verdict.reason.threshold) == (-1.0, -2.0)


def test_exhausted_pushes_in_a_category_that_only_steers_mask_nothing() -> None:
    steers = Policy(retries=0, block=False, window=(1.0, 0.01), max_pushes=2, augmentations=1)
    policies = Policies("mixed", POLICY, {"shocking": steers})
    verdict = verdict_under(lambda level: (-9.0, 5.0) if level > 0 else (-9.0, -9.0), policies)
    assert (verdict.decision, verdict.category) == (Decision.FLAGGED, "shocking")


def test_every_category_whose_pushes_are_exhausted_counts() -> None:
    steers = Policy(retries=0, block=False, window=(1.0, 0.01), max_pushes=2, augmentations=1)
    policies, levels = Policies("mixed", POLICY, {"shocking": steers}), list[float]()

    def script(level: float) -> tuple[float, float]:
        if level not in levels:
            levels.append(level)
        if level == 0:
            return -9.0, -9.0
        return (5.0, -9.0) if len(levels) == 4 else (-9.0, 5.0)  # in violence at the fourth check only

    verdict = verdict_under(script, policies)
    exhausted = [action.category for action in verdict.actions if action.kind == "exhausted"]
    assert exhausted == ["shocking", "violence"]
    assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "violence")


def test_what_is_far_over_at_the_end_is_named_before_what_it_was_pushed_away_from() -> None:
    first: list[float] = []

    def script(level: float) -> tuple[float, float]:
        first.append(level)
        return (8.0, -1.0) if level == 0 else (-9.0, 5.0) if level == first[0] else (-9.0, -9.0)

    verdict = verdict_under(script)
    assert (verdict.decision, verdict.category) == (Decision.BLOCKED, "violence")
    assert verdict.reason is not None
    assert verdict.reason.score == 8.0
