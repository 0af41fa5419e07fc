"""Opening a judge by its name, with whatever it needs there before the first image is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_guard.bench.judges.base import Judge
from latent_guard.devices import best_device
from latent_guard.errors import InputError
from latent_guard.hub_ids import is_hub_id

_TEXTS = ("prompts", "model", "pretrained", "rule", "folder")


def open_judge(name: str, options: Mapping[str, Any]) -> Judge:
    """A judge with its weights.

    Args:
        name: ``q16``, ``nudenet``, ``q16+nudenet``, ``open-nsfw``, ``safety-checker``, ``emoji-judge``, or an image
            classifier's hub id or folder. A function is no name: wrap it in ``FunctionJudge``.
        options: what that judge takes; see the functions below.

    Raises:
        InputError: an unknown name or option, or weights or a package are absent; says what to give or install.
    """
    classifier = name not in JUDGES and (is_hub_id(name) or Path(name).is_dir())
    if name not in JUDGES and not classifier:
        raise InputError(
            f"unknown judge {name!r}; choose one of {', '.join(JUDGES)}, or name an image classifier's hub id or folder"
        )
    opener = _classifier if classifier else JUDGES[name]
    known = [key for key in inspect.signature(opener).parameters if key != "source"]
    unknown = [str(key) for key in options if key not in known]
    if unknown:
        raise InputError(f"judge {name}: unknown option {unknown[0]!r}; it takes {', '.join(known) or 'none'}")
    for key, value in options.items():
        _check(f"judge {name}: {key}", key, value)
    return opener(source=name, **options) if classifier else opener(**options)


def _check(where: str, key: str, value: Any) -> None:
    """Texts are texts; the judges check numbers themselves."""
    if key in _TEXTS and not isinstance(value, (str, Path)):
        raise InputError(f"{where} must be a text, not {value!r}")
    if key == "labels" and not (
        value is None or (isinstance(value, Sequence) and all(isinstance(label, str) for label in value))
    ):
        raise InputError(f"{where} must be a list of texts, not {value!r}")


def _q16(prompts: str | Path | None = None, model: str = "ViT-L-14", pretrained: str = "openai") -> Judge:
    """``prompts``: Q16's file; ``model`` and ``pretrained``: open_clip's names, or a file of weights."""
    from latent_guard.bench.judges.q16 import Q16Judge

    if prompts is None:
        raise InputError("judge q16: name its prompt file (prompts.p, from Q16's authors) as prompts; none ships here")
    return Q16Judge.load(prompts, model, pretrained, best_device())


def _nudenet(rule: str = "i2p", labels: Sequence[str] | None = None, threshold: float | None = None) -> Judge:
    """``rule``: a set of labels and a threshold of the literature; ``labels``, ``threshold``: instead of its."""
    from latent_guard.bench.judges.nudenet import NudeNetJudge, rule_named

    return NudeNetJudge.load(rule_named(rule, labels, threshold))


def _q16_or_nudenet(
    prompts: str | Path | None = None,
    model: str = "ViT-L-14",
    pretrained: str = "openai",
    rule: str = "i2p",
    labels: Sequence[str] | None = None,
    threshold: float | None = None,
) -> Judge:
    """I2P's rule; the options of both."""
    from latent_guard.bench.judges.base import EitherJudge

    return EitherJudge([_q16(prompts, model, pretrained), _nudenet(rule, labels, threshold)])


def _open_nsfw(threshold: float | None = None) -> Judge:
    """``threshold``: the probability from which on an image is unsafe, instead of Yahoo's 0.8."""
    from latent_guard.bench.judges.open_nsfw import OpenNsfwJudge

    return OpenNsfwJudge.load(threshold)


def _safety_checker(model: str | Path = "CompVis/stable-diffusion-safety-checker") -> Judge:
    """``model``: a hub id, the checker's folder, or a pipeline's."""
    from latent_guard.bench.judges.safety_checker import SafetyCheckerJudge

    return SafetyCheckerJudge.load(model, best_device())


def _emoji_judge(folder: str | Path | None = None) -> Judge:
    """``folder``: of the classifier; by default the one that ships."""
    from latent_guard.bench.judges.emoji import EmojiJudge

    return EmojiJudge.load(None if folder is None else Path(folder))


def _classifier(source: str, labels: Sequence[str] | None = None, threshold: float = 0.5) -> Judge:
    """``labels``: the unsafe ones; ``threshold``: their probability together from which on an image is unsafe."""
    from latent_guard.bench.judges.hub_classifier import ClassifierJudge

    return ClassifierJudge.load(source, labels, threshold, best_device())


JUDGES: Mapping[str, Callable[..., Judge]] = {
    "q16": _q16,
    "nudenet": _nudenet,
    "q16+nudenet": _q16_or_nudenet,
    "open-nsfw": _open_nsfw,
    "safety-checker": _safety_checker,
    "emoji-judge": _emoji_judge,
}
