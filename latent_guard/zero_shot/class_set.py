"""The classes of a zero-shot test: their names, their templates, and which label of the data is which class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from latent_guard.errors import InputError
from latent_guard.files.documents import read_text, read_yaml

IMAGENET = "imagenet"
SLOT = "{}"
TEMPLATES = ("a photo of a {}.",)  # CLIP (Radford et al. 2021), section 3.1.4
_KEYS = ("classes", "templates")


@dataclass(frozen=True)
class ClassSet:
    """K classes.

    Attributes:
        names: of each class in prompts.
        templates: sentences with ``{}`` for the name.
        labels: of each class in the data; the names, unless a file says otherwise.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def numbers_of(self, labels: Sequence[str]) -> list[int]:
        """The class of each label of a data set: by name, as ImageNet-V2's folders by its number, or by place.

        By place only if there are as many labels as classes, and none is known by name as the class of another place:
        ImageNet's own names, or folders named after WordNet, are not those that CLIP is asked with.

        Raises:
            InputError: a label that is no class, or labels without known names that are not as many as the classes.
        """
        known = {_plain(label): number for number, label in reversed(list(enumerate(self.labels)))}
        found = [known.get(_plain(label)) for label in labels]
        if all(label.isdecimal() and int(label) < len(self) for label in labels) and None in found:
            return [int(label) for label in labels]
        if len(labels) == len(self) and all(
            number is None or _plain(label) == _plain(own)  # two of ImageNet's classes share a name
            for label, own, number in zip(labels, self.labels, found, strict=True)
        ):
            return list(range(len(self)))
        numbers = [number for number in found if number is not None]
        if len(numbers) == len(labels):
            return numbers
        unknown = next(label for label, number in zip(labels, found, strict=True) if number is None)
        if not numbers:
            raise InputError(
                f"the images have {len(labels)} labels ({unknown!r}, ...) and there are {len(self)} classes; name "
                "the classes as the labels, give as many in the same order, or write `classes:` as label: name"
            )
        raise InputError(f"the label {unknown!r} of the images is none of the {len(self)} classes; add it to them")

    def number_of_caption(self, captions: Iterable[str]) -> int | None:
        """The class that one of a sample's captions names, alone or in a template; None if none does."""
        return next((self._paraphrases[_plain(text)] for text in captions if _plain(text) in self._paraphrases), None)

    @cached_property
    def _paraphrases(self) -> dict[str, int]:
        paraphrases: dict[str, int] = {}
        for number, (name, label) in enumerate(zip(self.names, self.labels, strict=True)):
            for text in (label, name, *(template.replace(SLOT, name) for template in self.templates)):
                paraphrases.setdefault(_plain(text), number)
        return paraphrases


def class_set(source: str | None, labels: Sequence[str] | None) -> ClassSet:
    """The classes of ``--classes`` (``imagenet`` or a file), or without it those that the data names itself.

    Raises:
        InputError: no class at all, or a file that cannot be used.
    """
    if source is None:
        if not labels:
            raise InputError("the data names no classes; give them with --classes: a file, or imagenet")
        names = tuple(label.replace("_", " ").strip() for label in labels)
        return ClassSet(names, TEMPLATES, tuple(labels))
    if source == IMAGENET:
        from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

        templates = tuple(wording(SLOT) for wording in OPENAI_IMAGENET_TEMPLATES)
        return ClassSet(tuple(IMAGENET_CLASSNAMES), templates, tuple(IMAGENET_CLASSNAMES))
    return read_class_set(Path(source))


def read_class_set(path: Path) -> ClassSet:
    """Read classes from a text file, one name a line, or from a YAML file.

    The YAML file has ``classes`` (a list, or label: name) and may have ``templates``.

    Raises:
        InputError: no such file, no class, an unknown key, an empty or repeated name, a template without ``{}``.
    """
    if not path.exists():
        raise InputError(f"--classes {path} is neither {IMAGENET!r} nor a file")
    of_yaml = path.suffix in (".yaml", ".yml")
    content = read_yaml(path, "--classes") if of_yaml else {"classes": _lines(read_text(path, "--classes"))}
    if not isinstance(content, dict) or (unknown := [key for key in content if key not in _KEYS]):
        found = f"the unknown key {unknown[0]!r}" if isinstance(content, dict) else "no keys"
        raise InputError(f"{path} has {found}; the keys are {' and '.join(_KEYS)}")
    classes = content.get("classes") or ()
    names = _texts(path, "classes", classes.values() if isinstance(classes, dict) else classes)
    labels = _texts(path, "classes", classes.keys()) if isinstance(classes, dict) else names
    templates = _texts(path, "templates", content.get("templates", TEMPLATES))
    if not names or not templates:
        raise InputError(f"{path} holds no {'class' if not names else 'template'}; name at least one")
    if bare := [template for template in templates if SLOT not in template]:
        raise InputError(f"{path}: the template {bare[0]!r} has no {SLOT} for the class name")
    return ClassSet(names, templates, labels)


def _texts(path: Path, key: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{path}: {key} must be a list, not {values!r}")
    texts = tuple(values)
    if bad := [text for text in texts if not isinstance(text, str) or not text.strip()]:
        raise InputError(f"{path}: {key} holds {bad[0]!r}, which is not a text; put it in quotes")
    stripped = tuple(text.strip() for text in texts)
    if repeated := [text for text, times in Counter(stripped).items() if times > 1]:
        raise InputError(f"{path}: {key} holds {repeated[0]!r} twice; each counts once")
    return stripped


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _plain(text: str) -> str:
    """Case, underscores and the spaces at the ends do not tell two labels apart."""
    return text.replace("_", " ").strip().casefold()
