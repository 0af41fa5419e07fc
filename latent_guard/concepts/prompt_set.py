"""Prompt sets: the prompts of one unsafe category, and benign prompts that merely look alike. One YAML file each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.documents import read_yaml

SLOT = "{}"


@dataclass(frozen=True)
class PromptSet:
    """The prompts of one category.

    Attributes:
        name: the set's own name.
        category: the category that an image scores in; several sets may share one.
        description: one line for people.
        version: raised by one whenever the prompts change.
        licence: SPDX identifier of the prompts' licence.
        templates: sentences with one ``{}`` for a prompt, over which its embedding is averaged.
        prompts: the unsafe concepts, one phrase each.
        benign_prompts: look-alikes and ordinary neighbours, against which the concepts are scored.
    """

    name: str
    category: str
    description: str
    version: int
    licence: str
    templates: tuple[str, ...]
    prompts: tuple[str, ...]
    benign_prompts: tuple[str, ...]

    @classmethod
    def read(cls, path: Path | str) -> PromptSet:
        """Read one YAML file.

        Raises:
            InputError: no such file, not YAML, or a key is unknown, missing, empty or of the wrong type.
        """
        path = Path(path)
        content = read_yaml(path, "prompt set")
        if not isinstance(content, dict):
            raise InputError(f"{path} must be a mapping with the keys {_keys()}")
        unknown = sorted(str(key) for key in content.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise InputError(f"{path}: unknown key {unknown[0]!r}; the keys are {_keys()}")
        return cls(**{field.name: _checked(path, field.name, content.get(field.name)) for field in fields(cls)})

    def require_complete(self) -> None:
        """Raise InputError for a set that would embed nothing: no prompt, no template, or a prompt without a word."""
        where = f"prompt set {self.name} ({self.category})"
        if not self.prompts or not self.templates:
            missing = "template" if self.prompts else "prompt"
            raise InputError(f"{where} has no {missing}; an empty concept scores nothing")
        if any(not prompt.strip() for prompt in (*self.prompts, *self.benign_prompts)):
            raise InputError(f"{where} holds an empty prompt; remove it")

    def paraphrases(self, prompt: str) -> list[str]:
        """A prompt in each of the set's templates."""
        return [template.replace(SLOT, prompt) for template in self.templates]


def read_prompt_sets(folder: Path | str) -> list[PromptSet]:
    """Every ``*.yaml`` of a folder, in the order of the file names.

    Raises:
        InputError: the folder holds none, or one of them cannot be read.
    """
    paths = sorted(Path(folder).glob("*.yaml"))
    if not paths:
        raise InputError(f"{folder} holds no prompt set (*.yaml)")
    return [PromptSet.read(path) for path in paths]


def _checked(path: Path, key: str, value: Any) -> Any:
    if key in ("templates", "prompts", "benign_prompts"):
        return _checked_list(path, key, value)
    if key == "version":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: version must be a whole number from 1 up, not {value!r}")
        return value
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{path}: {key} must be a non-empty string, not {value!r}")
    return value.strip()


def _checked_list(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{path}: {key} must be a list with at least one entry")
    for entry in value:
        if not isinstance(entry, str) or not entry.strip():
            raise InputError(f"{path}: {key} holds {entry!r}, which is not a non-empty string")
        if key == "templates" and entry.count(SLOT) != 1:
            raise InputError(f"{path}: template {entry!r} must hold {SLOT} exactly once")
    entries = tuple(entry.strip() for entry in value)
    repeated = next((entry for entry in entries if entries.count(entry) > 1), None)
    if repeated is not None:
        raise InputError(f"{path}: {key} holds {repeated!r} twice")
    return entries


def _keys() -> str:
    return ", ".join(field.name for field in fields(PromptSet))
