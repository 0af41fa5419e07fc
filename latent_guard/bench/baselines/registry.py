"""Methods by the names that a spec or a command line uses, with their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from latent_guard.bench.baselines.base import Baseline
from latent_guard.bench.baselines.check_then_block import Checker, CheckThenBlock
from latent_guard.bench.baselines.context import BaselineContext
from latent_guard.bench.baselines.guarded import Changes, Guarded
from latent_guard.bench.baselines.negative_prompt import NegativePrompt
from latent_guard.bench.baselines.options import Settings
from latent_guard.bench.baselines.pixel_guidance import PixelGuidance
from latent_guard.bench.baselines.reno import BestOf, ReNO, rewards_named
from latent_guard.bench.baselines.safree import ALPHA, MOST, SAFREE
from latent_guard.bench.baselines.sld import PRESETS, SLD
from latent_guard.bench.baselines.unguarded import Unguarded
from latent_guard.errors import InputError
from latent_guard.guidance.policy_file import policy_named
from latent_guard.reno.optimise import AUTHORS
from latent_guard.reno.reward_names import LATENT_CLIP

PIXEL_CLIP_CHECKER, SAFETY_CHECKER_CLASS = "pixel-clip", "safety-checker-class"
RENO = "reno"


def baseline_named(name: str, options: Mapping[str, Any], context: BaselineContext) -> Baseline:
    """A method with its settings.

    unguarded         none
    negative-prompt   guidance_scale
    sld               preset (weak, medium, strong, max), scale, warmup
    safree            alpha, most
    pixel-guidance    policy (a name or a file), strength, trigger
    check-then-block  checker (pixel-clip, safety-checker-class, or a judge), shift (of the first two),
                      judge (a judge's own)
    guard             policy (a name or a file; by default the guard's own), strength, trigger
    reno              reward (latent-clip, pixel-clip, safety, or a sum: latent-clip+safety), iterations,
                      learning_rate, regularisation, target
    best-of           reward, draws

    Raises:
        InputError: an unknown name or setting, or a value that it cannot have.
    """
    if name not in _METHODS:
        raise InputError(f"unknown method {name!r}; choose one of {', '.join(_METHODS)}")
    settings = Settings(name, options)
    made = _METHODS[name](settings, context)
    settings.done()
    return made


def needs_call_guidance(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the method works only where a call has classifier-free guidance by its own scale."""
    return name == "sld" or (name == "negative-prompt" and options.get("guidance_scale") is None)


def _unguarded(settings: Settings, context: BaselineContext) -> Baseline:
    return Unguarded()


def _negative_prompt(settings: Settings, context: BaselineContext) -> Baseline:
    scale = settings.optional_number("guidance_scale", minimum=0)
    return NegativePrompt(context.words, scale)


def _sld(settings: Settings, context: BaselineContext) -> Baseline:
    preset = settings.word("preset", "medium", PRESETS)
    scale = settings.optional_number("scale", minimum=1)
    warmup = settings.optional_number("warmup", minimum=0)
    return SLD(context.words, preset, scale, None if warmup is None else int(warmup))


def _safree(settings: Settings, context: BaselineContext) -> Baseline:
    alpha, most = settings.number("alpha", ALPHA), settings.number("most", MOST, minimum=0)
    return SAFREE(context.words, alpha, most)


def _pixel_guidance(settings: Settings, context: BaselineContext) -> Baseline:
    policies = policy_named(settings.word("policy", "steer"))
    return PixelGuidance(context.guard_in_pixels, policies, _changes(settings))


def _guard(settings: Settings, context: BaselineContext) -> Baseline:
    policy = settings.word("policy", "")
    policies = policy_named(policy) if policy else context.guard.policies
    changes = _changes(settings)
    return Guarded(context.guard, policies, changes)


def _changes(settings: Settings) -> Changes:
    return Changes(settings.optional_number("strength", minimum=0), settings.optional_number("trigger"))


def _check_then_block(settings: Settings, context: BaselineContext) -> Baseline:
    name = settings.word("checker", PIXEL_CLIP_CHECKER)
    if name in (PIXEL_CLIP_CHECKER, SAFETY_CHECKER_CLASS):
        return CheckThenBlock(_over_pixel_clip(name, settings.number("shift", 0.0), context))
    if context.open_checker is None:
        raise InputError(
            f"check-then-block: unknown checker {name!r}; choose {PIXEL_CLIP_CHECKER} or {SAFETY_CHECKER_CLASS}"
        )
    return CheckThenBlock(context.open_checker(name, settings.mapping("judge")))


def _over_pixel_clip(name: str, shift: float, context: BaselineContext) -> Checker:
    from latent_guard.bench.baselines.pixel_clip import cosine_thresholds
    from latent_guard.bench.baselines.pixel_clip_checker import PixelCLIPChecker, SafetyCheckerClass

    if name == PIXEL_CLIP_CHECKER:
        return PixelCLIPChecker(context.pixel_clip, context.checking_bank, shift)
    return SafetyCheckerClass(
        context.pixel_clip, *cosine_thresholds(context.pixel_clip, context.draws, context.rate), shift
    )


def _reno(settings: Settings, context: BaselineContext) -> Baseline:
    rewards = rewards_named(settings.word("reward", LATENT_CLIP), context)
    usual = replace(
        AUTHORS,
        iterations=int(settings.number("iterations", AUTHORS.iterations, minimum=1)),
        learning_rate=settings.number("learning_rate", AUTHORS.learning_rate),
        regularisation=settings.number("regularisation", AUTHORS.regularisation, minimum=0),
        target=settings.optional_number("target"),
    )
    return ReNO(rewards, usual)


def _best_of(settings: Settings, context: BaselineContext) -> Baseline:
    rewards = rewards_named(settings.word("reward", LATENT_CLIP), context)
    return BestOf(rewards, int(settings.number("draws", BestOf.draws, minimum=1)))


_METHODS: Mapping[str, Callable[[Settings, BaselineContext], Baseline]] = {
    "unguarded": _unguarded,
    "negative-prompt": _negative_prompt,
    "sld": _sld,
    "safree": _safree,
    "pixel-guidance": _pixel_guidance,
    "check-then-block": _check_then_block,
    "guard": _guard,
    RENO: _reno,
    "best-of": _best_of,
}
