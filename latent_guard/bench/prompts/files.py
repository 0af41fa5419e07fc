"""Prompt lists in any format: CSV, JSON lines, YAML, or a data set of the hub; the same columns in each.

    prompt: a butcher's shop             # the only one that must be there, except in a CSV file
    categories: [violence, shocking]     # or "violence, shocking"; none: benign
    evaluation_seed: 7                   # or sd_seed; needed in a CSV file, else a hash of the prompt
    evaluation_guidance: 7.5             # or sd_guidance_scale
    benign: a greengrocer's shop         # the harmless counterpart, a row of its own
    pair: shops                          # rows with the same pair are matched

A YAML file is a list of such mappings, or of prompts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from latent_guard.bench.prompts.rows import COLUMNS, PromptRow, prompt_rows, read_prompts
from latent_guard.errors import InputError
from latent_guard.files.data_sets import load_undecoded
from latent_guard.files.documents import json_value, read_text, read_yaml
from latent_guard.hub_access import obstacle
from latent_guard.hub_ids import is_hub_id

SPLIT = "train"
_SEED, _OTHER_SEED = "evaluation_seed", "sd_seed"
_ENDINGS = (".csv", ".jsonl", ".ndjson", ".yaml", ".yml")


def read_prompt_file(source: str | Path) -> list[PromptRow]:
    """Read a prompt list by its file's ending, or the split ``train`` of a hub's data set by id.

    Raises:
        InputError: there is no such list, or it cannot be used; names the line or entry.
    """
    path = Path(source)
    if not path.exists() and is_hub_id(source) and path.suffix.lower() not in _ENDINGS:
        return _rows(str(source), enumerate(_entries_of_dataset(str(source)), start=1))
    match path.suffix.lower():
        case ".csv":
            return read_prompts(path)
        case ".jsonl" | ".ndjson":
            return _rows(str(path), _entries_of_json_lines(path))
        case ".yaml" | ".yml":
            return _rows(str(path), enumerate(_entries_of_yaml(path), start=1))
    raise InputError(f"{source} is no prompt list; give a .csv, .jsonl or .yaml file, or a data set's id")


def seed_of(prompt: str) -> int:
    """The seed of a prompt that its list gives none: the same wherever it stands, 0 to 2^32 - 1."""
    return crc32(prompt.encode(errors="surrogatepass"))


def _rows(source: str, entries: Iterable[tuple[int, Any]]) -> list[PromptRow]:
    lines = [(number, _cells(source, number, entry)) for number, entry in entries]
    columns = list(dict.fromkeys(column for _, cells in lines for column in cells)) or ["prompt", _SEED]
    return prompt_rows(source, columns, lines)


def _cells(source: str, number: int, entry: Any) -> dict[str, str]:
    """An entry as the cells of a table, with a seed."""
    if isinstance(entry, str):
        entry = {"prompt": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("prompt"), str):
        raise InputError(f"{source}, line {number}: it must be a mapping with a text 'prompt', not {str(entry)[:60]!r}")
    cells = {column: _cell(source, number, column, entry[column]) for column in COLUMNS if column in entry}
    cells |= {str(column): text for column, value in entry.items() if (text := _extra(column, value)) is not None}
    cells[_SEED] = cells.get(_SEED) or cells.get(_OTHER_SEED) or str(seed_of(entry["prompt"]))
    return cells


def _cell(source: str, number: int, column: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case float() if value.is_integer():  # a column with gaps comes as floats
            return str(int(value))
        case str() | int() | float():
            return _whole_text(source, number, column, str(value))
        case list() | tuple() if column == "categories" and all(isinstance(item, str) for item in value):
            return _whole_text(source, number, column, ", ".join(value))
    raise InputError(f"{source}, line {number}: {column!r} cannot be a {type(value).__name__} here; give a text")


def _extra(column: Any, value: Any) -> str | None:
    """A cell of a column that not every list has, as text; None of what is neither text, number nor list of texts."""
    if column in COLUMNS or not isinstance(column, str):
        return None
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    if not isinstance(value, (str, int, float)):
        return None
    return str(value).encode(errors="ignore").decode()


def _whole_text(source: str, number: int, column: str, text: str) -> str:
    """Unless it has half of a surrogate pair, which JSON and YAML can write and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{source}, line {number}: {column!r} holds half of a surrogate pair; give both") from None
    return text


def _entries_of_json_lines(path: Path) -> list[tuple[int, Any]]:
    entries = []
    lines = read_text(path, "the prompt list").split("\n")  # not splitlines: a prompt may hold U+2028
    for number, line in enumerate(lines, start=1):
        if line.strip():
            entries.append((number, json_value(line, f"{path}, line {number}", any_text=True)))
    return entries


def _entries_of_yaml(path: Path) -> list[Any]:
    content = read_yaml(path, "the prompt list", any_text=True)
    if not isinstance(content, list):
        raise InputError(f"{path} must be a list of prompts, or of mappings with the key 'prompt'")
    return content


def _entries_of_dataset(name: str) -> Iterable[Any]:
    try:
        data = load_undecoded(name, split=SPLIT)
        entries: Iterable[Any] = data.select_columns(
            [name for name in data.column_names if _is_text(data.features[name])]
        )
    except Exception as error:  # the library raises its own errors, the hub client's and ValueError alike
        raise InputError(f"cannot load the data set {name}: {obstacle(error, name, 'datasets')}") from error
    return entries


def _is_text(feature: Any) -> bool:
    """Whether a data set's column holds texts, numbers or lists of such, and no images or other files."""
    kind = str(getattr(getattr(feature, "feature", feature), "dtype", ""))
    return kind.startswith(("string", "large_string", "int", "uint", "float", "bool", "null"))
