"""What a guard is fitted on: everyday prompts and unsafe ones, those that ship or a user's own lists.

A list of one's own is a CSV file in I2P's schema. It needs the column ``prompt``; an unsafe list may have the column
``categories``, several in a cell separated by commas. Other columns are not read.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from latent_guard.concepts.prompt_set import SLOT, PromptSet
from latent_guard.errors import InputError
from latent_guard.files.documents import read_text
from latent_guard.package_data import everyday_list

ANY_CATEGORY = "unsafe"  # of a user's unsafe prompt whose list names none
PER_CATEGORY = 400  # unsafe prompts that are made of the concepts
MAX_CHARACTERS = 10_000  # of a prompt: several times what any text encoder reads
MAX_BYTES = 64 << 20  # of a list
# Scenes for the concepts. No number of styles shares a factor with that of settings: counting up changes both.
STYLES = (
    "a candid snapshot of {}",
    "{}, documentary photography",
    "{} in a film still",
    "an oil sketch showing {}",
    "a watercolour of {}",
    "{}, 3D render",
    "a black and white picture of {}",
    "{} as a comic book panel",
    "{}, highly detailed concept art",
    "a poster with {}",
    "an old newspaper picture of {}",
)
SETTINGS = (
    "early in the morning",
    "on a rainy evening",
    "under a bright blue sky",
    "lit by a single lamp",
    "seen from across the street",
    "in muted colours",
    "close to the camera",
    "with a small town in the background",
    "on an ordinary weekday",
)


@dataclass(frozen=True)
class UnsafePrompt:
    """A prompt that a guard should act on, and the category of its concepts, or ``ANY_CATEGORY``."""

    prompt: str
    category: str


@dataclass(frozen=True)
class FitPrompts:
    """Prompts of both kinds, each of them once.

    Raises:
        InputError: one kind is missing, or a prompt is of both.
    """

    benign: tuple[str, ...]
    unsafe: tuple[UnsafePrompt, ...]

    def __post_init__(self) -> None:
        if not self.benign or not self.unsafe:
            missing = "unsafe" if self.benign else "benign"
            raise InputError(f"a guard is fitted on benign and on unsafe prompts, and there are no {missing} ones")
        benign = set(self.benign)
        if both := next((row.prompt for row in self.unsafe if row.prompt in benign), None):
            raise InputError(f"the prompt {both[:80]!r} is among the benign and among the unsafe ones; remove one")


def fit_prompts(
    prompt_sets: Sequence[PromptSet], benign: Path | str | None = None, unsafe: Path | str | None = None
) -> FitPrompts:
    """The prompts to fit a guard on: a user's own lists, or else everyday ones, and the concepts put into scenes.

    Raises:
        InputError: a list cannot be used; see ``read_benign`` and ``read_unsafe``.
    """
    return FitPrompts(
        everyday_prompts() if benign is None else read_benign(benign),
        unsafe_prompts(prompt_sets)
        if unsafe is None
        else read_unsafe(unsafe, {prompt_set.category for prompt_set in prompt_sets}),
    )


def everyday_prompts() -> tuple[str, ...]:
    """The everyday prompts that ship, over many subjects and styles, among them look-alikes of unsafe things."""
    return read_benign(everyday_list())


def unsafe_prompts(prompt_sets: Sequence[PromptSet], per_category: int = PER_CATEGORY) -> tuple[UnsafePrompt, ...]:
    """The concepts of each category in scenes that their sets' own templates do not make, evenly over the concepts.

    There are at most ``per_category`` a category, since a concept has 99 scenes, and no two are the same.
    """
    concepts: dict[str, dict[str, None]] = {}
    for prompt_set in prompt_sets:
        concepts.setdefault(prompt_set.category, {}).update(dict.fromkeys(prompt_set.prompts))
    taken = {
        text for prompt_set in prompt_sets for prompt in prompt_set.prompts for text in prompt_set.paraphrases(prompt)
    }
    made: list[UnsafePrompt] = []
    for category, prompts in concepts.items():
        fresh = [scene for scene in dict.fromkeys(_scenes(tuple(prompts))) if scene not in taken][:per_category]
        taken.update(fresh)
        made += [UnsafePrompt(scene, category) for scene in fresh]
    return tuple(made)


def read_benign(path: Path | str) -> tuple[str, ...]:
    """The prompts of a list, each once, without those that have no word; a column ``categories`` is not read.

    Raises:
        InputError: no such file, no CSV in UTF-8, no column ``prompt``, a prompt is too long, or there is none.
    """
    return tuple(dict.fromkeys(prompt for _, prompt, _ in _rows(path)))


def read_unsafe(path: Path | str, categories: Collection[str]) -> tuple[UnsafePrompt, ...]:
    """The prompts of a list, each once, in the first of its categories.

    Args:
        path: the list.
        categories: those of the concepts.

    Raises:
        InputError: as for ``read_benign``, or a prompt has a category that no concept is of.
    """
    found: dict[str, UnsafePrompt] = {}
    for line, prompt, cell in _rows(path):
        named = [word for word in map(str.strip, cell.split(",")) if word] or [ANY_CATEGORY]
        if unknown := [name for name in named if name not in categories and name != ANY_CATEGORY]:
            known = ", ".join(sorted(categories))
            raise InputError(f"{path}, line {line}: no concept is of the category {unknown[0]!r}; there are: {known}")
        found.setdefault(prompt, UnsafePrompt(prompt, named[0]))
    return tuple(found.values())


def _scenes(concepts: tuple[str, ...]) -> Iterator[str]:
    """Each concept once, then each once more in another scene, until each has been in all."""
    for turn in range(len(STYLES) * len(SETTINGS)):
        for number, concept in enumerate(concepts):
            scene = turn + number
            yield f"{STYLES[scene % len(STYLES)].replace(SLOT, concept)}, {SETTINGS[scene % len(SETTINGS)]}"


def _rows(path: Path | str) -> Iterator[tuple[int, str, str]]:
    """Line number, prompt and cell of categories of each prompt that has a word."""
    text = read_text(path, "the prompt list", MAX_BYTES)
    if "\0" in text:
        raise InputError(f"{path} holds a NUL; it must be a CSV file in UTF-8")
    reader = csv.DictReader(StringIO(text, newline=""))
    count = 0
    try:
        if "prompt" not in (reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise InputError(f"{path}, line 1: no column 'prompt'; found {found[:200]}")
        for cells in reader:
            if prompt := _prompt(f"{path}, line {reader.line_num}", cells):
                count += 1
                yield reader.line_num, prompt, cells.get("categories") or ""
    except csv.Error as error:
        raise InputError(f"{path} is not CSV after line {reader.line_num:,} ({error})") from error
    if not count:
        raise InputError(f"{path} holds no prompts; it needs at least one row below the header")


def _prompt(where: str, cells: Mapping[str | None, object]) -> str:
    if None in cells:
        raise InputError(f"{where}: more cells than the header has; put a prompt that holds a comma into quotes")
    prompt = " ".join(str(cells["prompt"] or "").split())
    if len(prompt) > MAX_CHARACTERS:
        raise InputError(f"{where}: a prompt of {len(prompt):,} characters; at most {MAX_CHARACTERS:,} are taken")
    return prompt
