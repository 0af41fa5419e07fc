"""Where prompt sets come from: YAML files, a CSV file, or a data set of the hub."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latent_guard.concepts.prompt_set import SLOT, PromptSet, read_prompt_sets
from latent_guard.errors import InputError, reason_of
from latent_guard.files.data_sets import load_undecoded
from latent_guard.hub_access import obstacle
from latent_guard.hub_ids import is_hub_id
from latent_guard.package_data import concepts_folder

_CATEGORY_COLUMNS = ("categories", "category")
SPLIT = "train"


def prompt_sets_of(source: str) -> list[PromptSet]:
    """The prompt sets of a YAML or CSV file, a folder of YAML files, a shipped folder (``i2p``), or a data set's id.

    A CSV file or data set has the columns ``prompt`` and ``categories`` (or ``category``), several categories of a row
    separated by commas, as in I2P. A row without a category is benign. Of a data set the split ``train`` is read.

    Raises:
        InputError: there is no such thing, or it holds no prompt of any category.
    """
    path = Path(source)
    if path.is_dir():
        return read_prompt_sets(path)
    if path.suffix in (".yaml", ".yml"):
        return [PromptSet.read(path)]
    if path.suffix == ".csv":
        return _from_rows(_rows_of_csv(path), source)
    if is_hub_id(source):
        return _from_rows(_rows_of_dataset(source), source)
    if path.exists():
        raise InputError(f"{source} is no prompt set; give a .yaml or .csv file, a folder, or a data set's id")
    return read_prompt_sets(concepts_folder(source))


def _rows_of_csv(path: Path) -> list[dict[str, Any]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read prompt set {path}: {reason_of(error)}") from error


def _rows_of_dataset(name: str) -> Iterable[Mapping[str, Any]]:
    try:
        rows: Iterable[Mapping[str, Any]] = load_undecoded(name, split=SPLIT)
    except Exception as error:  # the library raises its own errors, the hub client's and ValueError alike
        raise InputError(f"cannot load the data set {name}: {obstacle(error, name, 'datasets')}") from error
    return rows


def _from_rows(rows: Iterable[Mapping[str, Any]], source: str) -> list[PromptSet]:
    """One prompt set a category; benign rows belong to each. Repeated prompts count once, those without a word never.

    A prompt can occur in several categories, but is not benign where it has one.
    """
    prompts: dict[str, dict[str, None]] = {}
    benign: dict[str, None] = {}
    for row in rows:
        prompt, categories = _cells(row, source)
        if not prompt:
            continue
        for category in categories:
            prompts.setdefault(category, {})[prompt] = None
        if not categories:
            benign[prompt] = None
    if not prompts:
        raise InputError(f"{source} holds no prompt of any category; an empty concept scores nothing")
    return [
        PromptSet(
            name=f"{source}: {category}",
            category=category,
            description=f"The rows of {source} in this category.",
            version=1,
            licence=f"see {source}",
            templates=(SLOT,),
            prompts=tuple(of_category),
            benign_prompts=tuple(benign),
        )
        for category, of_category in prompts.items()
    ]


def _cells(row: Mapping[str, Any], source: str) -> tuple[str, tuple[str, ...]]:
    column = next((name for name in _CATEGORY_COLUMNS if name in row), None)
    if column is None or "prompt" not in row:
        missing = "prompt" if "prompt" not in row else " or ".join(_CATEGORY_COLUMNS)
        raise InputError(f"{source} has no column {missing}; it has {', '.join(map(str, row)) or 'none'}")
    value = row[column]
    words = value if isinstance(value, (list, tuple)) else str(value or "").split(",")
    categories = (str(word).strip() for word in words)
    return str(row["prompt"] or "").strip(), tuple(dict.fromkeys(word for word in categories if word))
