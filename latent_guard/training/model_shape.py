"""The model config of a recipe, completed with the values that its data decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from latent_guard.errors import InputError
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig
from latent_guard.latent_clip.presets import PRESETS
from latent_guard.latent_clip.tokenizer import MERGES, trimmed_vocab_size
from latent_guard.training.data.buckets import TrainingData
from latent_guard.training.data.mapped_shards import TokenizerSize


def model_config(model: Mapping[str, Any] | str, data: TrainingData) -> LatentCLIPConfig:
    """Complete a recipe's ``model`` for the latents and token ids of ``data``.

    Where the data holds latents of several sizes, position embeddings are stored for the square that has about as many
    positions as the most frequent size.

    Raises:
        InputError: model and data contradict each other, a key is unknown, or a value cannot be used.
    """
    given = _preset(model) if isinstance(model, str) else dict(model)
    text = _section(given, "text")
    tokens = data.tokenizer
    vision = {"channels": data.latent_space.channels, **_section(given, "vision")}
    vision.setdefault("size", _usual_side(data, vision.get("patch_size", 1)))
    text.setdefault("vocab_size", tokens.vocab_size if tokens else trimmed_vocab_size(MERGES))
    if tokens:
        text.setdefault("context_length", tokens.context_length)
    rest = {"latent_space": asdict(data.latent_space), "reads_noise_level": data.has_noise, **given}
    config = LatentCLIPConfig.from_dict({**rest, "vision": vision, "text": text})
    _check(config, data)
    return config


def _preset(name: str) -> dict[str, Any]:
    """The towers of a published model, for any latent space and size."""
    if name not in PRESETS:
        raise InputError(f"model: {name!r} is no preset; known are {', '.join(PRESETS)}")
    preset = PRESETS[name].to_dict()
    del preset["latent_space"], preset["vision"]["channels"], preset["vision"]["size"]
    return preset


def _usual_side(data: TrainingData, patch: Any) -> int:
    counts = data.shapes
    _, rows, columns = max(counts, key=lambda shape: counts[shape])
    if rows == columns or not isinstance(patch, int) or patch < 1:
        return rows
    side: float = (rows * columns) ** 0.5
    return max(1, round(side / patch)) * patch


def _check(config: LatentCLIPConfig, data: TrainingData) -> None:
    pairs: list[tuple[str, Any, Any]] = [("latent_space", config.latent_space, data.latent_space)]
    if len(data.shapes) == 1:
        _, rows, columns = next(iter(data.shapes))
        pairs.append(("vision size", config.vision.size, rows if rows == columns else config.vision.size))
    for name, given, needed in pairs:
        if given != needed:
            raise InputError(f"model: the recipe's {name} is {given}, but it has to be {needed}, as the data's is")
    if data.tokenizer:
        _check_tokens(config.text, data.tokenizer)


def _check_tokens(text: TextConfig, stored: TokenizerSize) -> None:
    for name in ("vocab_size", "context_length"):
        given = getattr(text, name)
        needed = getattr(stored, name)
        if given != needed:
            raise InputError(
                f"model: its text tower has {name} {given}, and the data's token ids are of {needed}; encode the "
                "images with this model's `--tokenizer`, or change the recipe's text"
            )


def _section(model: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(section := model.get(key), Mapping):
        raise InputError(f"model: {key} must be given, as keys and values")
    return dict(section)
