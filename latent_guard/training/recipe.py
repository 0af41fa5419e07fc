"""A training run as data: one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from latent_guard.bounds import require_number, require_whole
from latent_guard.errors import InputError
from latent_guard.files.documents import read_yaml

RECIPES = Path(__file__).parent / "recipes"  # the recipes that ship
MAX_SEED = 2**40  # times steps, it has to fit a generator's 64 bits
LOSSES = ("clip", "siglip")
PRECISIONS = ("bf16", "fp32")
TRACKERS = ("tensorboard", "wandb")
_REQUIRED = ("data", "out", "model", "steps", "batch_size", "learning_rate")
_MAX_STEPS = 10**9
_MAX_BATCH = 10**6
_MAX_RATE = 100.0
_WHOLE_NUMBERS = {  # from, to
    "steps": (1, _MAX_STEPS),
    "batch_size": (2, _MAX_BATCH),  # a contrastive loss compares samples with each other
    "micro_batch": (1, _MAX_BATCH),
    "save_every": (1, _MAX_STEPS),
    "warmup": (0, _MAX_STEPS),
    "patch_steps": (0, _MAX_STEPS),
    "seed": (0, MAX_SEED),
}
_RATES = ("learning_rate", "muon_rate")
_CHOICES = {"loss": LOSSES, "precision": PRECISIONS}


@dataclass(frozen=True)
class Recipe:
    """A training run: its model, its data and its schedule.

    Attributes:
        data: folders of latent shards of one latent space; each batch holds latents of one size.
        out: folder for the model; a killed run resumes from its checkpoint there.
        model: a preset's name (``latent-vit-b-8``, ``latent-vit-b-4-plus``), or a ``LatentCLIPConfig`` as nested dicts.
            Keys that the data and the tokenizer decide (latent_space, vision channels and size, text vocab_size) may
            be left out.
        batch_size: samples a step of all processes together; the loss sees every negative among them.
        micro_batch: samples that a process holds in memory at once; all of its own where it is left out.
        learning_rate: AdamW's peak rate in the cosine schedule.
        muon_rate: Muon's peak rate; Muon then trains the transformers' matrices. Without it AdamW trains everything.
        warmup: steps of linear warm-up.
        loss: ``clip`` (softmax) or ``siglip`` (sigmoid).
        precision: ``bf16`` (autocast) or ``fp32``.
        checkpoint_gradients: compute activations twice, to save memory.
        compile: run both towers through torch.compile.
        init_from: model to start from: a Latent-CLIP of the same config, or a CLIP on pixels (its folder, open_clip's
            MODEL:PRETRAINED or hf-hub:OWNER/NAME), which gives every weight but the patch embedding.
        patch_steps: number of first steps that train only the weights that ``init_from`` did not give.
        evaluate: zero-shot test during training: ``data``, ``classes``, ``every``; see ``EvaluationSettings``.
        trackers: ``tensorboard``, ``wandb``.
        save_every: steps between checkpoints.

    Paths are relative to the working directory.
    """

    data: list[str]
    out: str
    model: dict[str, Any] | str
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 0
    weight_decay: float = 0.1
    seed: int = 0
    muon_rate: float | None = None
    loss: str = "clip"
    precision: str = "bf16"
    micro_batch: int | None = None
    checkpoint_gradients: bool = False
    compile: bool = False
    init_from: str | None = None
    patch_steps: int = 0
    evaluate: dict[str, Any] | None = None
    trackers: list[str] = field(default_factory=list)
    save_every: int = 500

    @classmethod
    def read(cls, path: Path | str, **changes: Any) -> Recipe:
        """Read a recipe from a YAML file, or a recipe that ships by its name; ``changes`` replace its values.

        Raises:
            InputError: the file is unreadable, not YAML, or not a recipe; the message names file and key.
        """
        shipped = RECIPES / f"{path}.yaml"
        file = shipped if str(path) in shipped_recipes() else Path(path)
        if not file.exists():
            known = ", ".join(shipped_recipes())
            raise InputError(f"cannot read recipe {path}; give a YAML file, or one that ships: {known}")
        data = read_yaml(file, "recipe")
        try:
            return cls.from_dict({**data, **changes} if isinstance(data, Mapping) else data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, data: Any) -> Recipe:
        """Make a recipe from its keys and values.

        Raises:
            InputError: a key is unknown or missing, or a value cannot be used; the message names the key.
        """
        if not isinstance(data, Mapping):
            raise InputError("a recipe is keys and values")
        known = {field.name: field for field in fields(cls)}
        if unknown := [str(key) for key in data if key not in known]:
            raise InputError(f"unknown key {unknown[0]!r}; known are {', '.join(known)}")
        if missing := [key for key in _REQUIRED if key not in data]:
            raise InputError(f"missing key {missing[0]!r}")
        recipe = cls(**{key: _convert(key, str(known[key].type), value) for key, value in data.items()})
        recipe._check()
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``from_dict`` and YAML take it."""
        return asdict(self)

    def _check(self) -> None:
        if not self.data:
            raise InputError("data: name at least one folder of latent shards")
        paths = [("out", self.out), ("init_from", self.init_from), *(("data", path) for path in self.data)]
        for key, path in paths:
            if path is not None and not path.strip():
                raise InputError(f"{key} is empty; name a folder")
        for key, (least, most) in _WHOLE_NUMBERS.items():
            if (value := getattr(self, key)) is not None:
                require_whole(key, value, least, most)
        for key in _RATES:
            if (value := getattr(self, key)) is not None:
                require_number(key, value, 0, _MAX_RATE, exclusive=True)
        require_number("weight_decay", self.weight_decay, 0, _MAX_RATE)
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise InputError(f"{key} must be one of {', '.join(choices)}, not {getattr(self, key)!r}")
        if unknown := [name for name in self.trackers if name not in TRACKERS]:
            raise InputError(f"trackers: {unknown[0]!r} is not one of {', '.join(TRACKERS)}")
        if self.patch_steps and self.init_from is None:
            raise InputError("patch_steps is for a start from a CLIP on pixels; name one with init_from")


def shipped_recipes() -> list[str]:
    """The names of the recipes that ship; these lack ``data`` and ``out``."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _convert(key: str, kind: str, value: Any) -> Any:
    """Convert a value to its field's type; YAML reads 1e-3, without a dot, as text."""
    if value is None and kind.endswith("| None"):
        return None
    kind = kind.removesuffix(" | None")
    if kind == "float" and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    wanted: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "str": str,
        "bool": bool,
        "dict[str, Any]": dict,
        "dict[str, Any] | str": (dict, str),
        "list[str]": list,
    }
    well_formed = kind in wanted and isinstance(value, wanted[kind]) and isinstance(value, bool) == (kind == "bool")
    if not well_formed or (kind == "list[str]" and not all(isinstance(item, str) for item in value)):
        raise InputError(f"{key} must be {kind}, not {value!r}")
    return value
