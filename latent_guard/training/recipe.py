"""A training run as data: one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from latent_guard.errors import InputError
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.latent_space import LatentSpace


@dataclass(frozen=True)
class Recipe:
    """What to train, on what, for how long.

    Attributes:
        data: folders of latent shards.
        out: folder for the model; a killed run resumes from what it left there.
        model: a ``LatentCLIPConfig`` as nested dicts. What the data and the tokenizer decide (latent_space, vision
            channels and size, text vocab_size) may be left out.
        learning_rate: AdamW's peak in the cosine schedule.
        muon_rate: Muon's, which then trains the transformers' matrices; AdamW trains everything where it is left out.
        warmup: steps of linear warm-up.
        init_from: folder of a Latent-CLIP of the same config to start from.

    Paths are relative to the working directory.
    """

    data: list[str]
    out: str
    model: dict[str, Any]
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 0
    weight_decay: float = 0.1
    seed: int = 0
    muon_rate: float | None = None
    init_from: str | None = None

    @classmethod
    def read(cls, path: Path | str) -> Recipe:
        """A recipe from a YAML file.

        Raises:
            InputError: unreadable, not YAML, or not a recipe; names the file and the key.
        """
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read recipe {path}") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        try:
            return cls.from_dict(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """A recipe from its keys and values.

        Raises:
            InputError: an unknown or missing key, or a value that cannot be used; names the key.
        """
        if not isinstance(data, Mapping):
            raise InputError("a recipe is keys and values")
        known = {field.name: field for field in fields(cls)}
        if unknown := [str(key) for key in data if key not in known]:
            raise InputError(f"unknown key {unknown[0]!r}; known are {', '.join(known)}")
        required = ("data", "out", "model", "steps", "batch_size", "learning_rate")
        if missing := [key for key in required if key not in data]:
            raise InputError(f"missing key {missing[0]!r}")
        recipe = cls(**{key: _convert(key, str(known[key].type), value) for key, value in data.items()})
        recipe._check()
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``from_dict`` and YAML take it."""
        return asdict(self)

    def model_config(self, latent_space: LatentSpace, size: int, vocab_size: int) -> LatentCLIPConfig:
        """The model's config, completed by what the data and the tokenizer decide.

        Raises:
            InputError: the recipe contradicts them, or an unknown key or a value that cannot be used.
        """
        vision = {"channels": latent_space.channels, "size": size, **_section(self.model, "vision")}
        text = {"vocab_size": vocab_size, **_section(self.model, "text")}
        model = {"latent_space": asdict(latent_space), "reads_noise_level": True, **self.model}
        config = LatentCLIPConfig.from_dict({**model, "vision": vision, "text": text})
        for name, said, found in (
            ("latent_space", config.latent_space, latent_space),
            ("vision size", config.vision.size, size),
            ("text vocab_size", config.text.vocab_size, vocab_size),
        ):
            if said != found:
                raise InputError(f"model: the recipe's {name} is {said}, but it has to be {found}")
        return config

    def _check(self) -> None:
        if not self.data:
            raise InputError("data: name at least one folder of latent shards")
        rates = ("learning_rate",) if self.muon_rate is None else ("learning_rate", "muon_rate")
        for key in ("steps", "batch_size", *rates):
            if not 0 < getattr(self, key) < float("inf"):
                raise InputError(f"{key} must be positive, not {getattr(self, key)}")
        for key in ("warmup", "weight_decay", "seed"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise InputError(f"{key} must not be negative, but is {getattr(self, key)}")


def _section(model: Mapping[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(section := model.get(key), Mapping):
        raise InputError(f"model: {key} must be given, as keys and values")
    return dict(section)


def _convert(key: str, kind: str, value: Any) -> Any:
    """The value as its field's type; YAML reads 1e-3, without a dot, as text."""
    if kind == "float | None" and value is None:
        return None
    if kind.startswith("float") and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    wanted: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "str": str,
        "str | None": (str, type(None)),
        "dict[str, Any]": dict,
        "list[str]": list,
    }
    well_formed = kind in wanted and isinstance(value, wanted[kind]) and not isinstance(value, bool)
    if not well_formed or (kind == "list[str]" and not all(isinstance(item, str) for item in value)):
        raise InputError(f"{key} must be {kind}, not {value!r}")
    return value
