"""T2I-CompBench (K. Huang et al., 2023): its prompt lists, and images laid out as its evaluators read them.

    OUT/color/samples/a green bench and a blue bowl_000000.png

The evaluators take a file name's text before the FIRST underscore for the prompt, and the number after the last for the
order. So a prompt becomes part of a path, and prompts are hostile: what a file name cannot hold, or would be read
otherwise (underscores, separators, control and bidirectional marks, leading dots, 10,000 characters), is changed, and
``OUT/color/prompts.jsonl`` says what every file was really made of.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latent_guard.bench.prompts.files import seed_of
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.png import write_sample

IMAGES = 10
_MAX_BYTES = 200  # of the prompt in a file name; file systems take 255 for the whole name, and a part's is longer
_ENDING = "_val.txt"
_UNREADABLE = "_/\\"  # ends the prompt, or a folder's name
_UNSEEN = ("Cc", "Cf", "Cs")  # Unicode's control and format characters, and lone surrogates


def read_compbench(path: Path | str) -> list[PromptRow]:
    """Read one list, or every ``*_val.txt`` of a folder: a prompt a line, the category in the file's name.

    ``extra`` of a prompt holds its ``category``: color, shape, texture, spatial, ...

    Raises:
        InputError: no such list, not UTF-8, or empty.
    """
    path = Path(path)
    files = sorted(path.glob(f"*{_ENDING}")) if path.is_dir() else [path]
    prompts = [prompt for file in files for prompt in _read(file)]
    if not prompts:
        raise InputError(f"{path} holds no prompts of T2I-CompBench; give a *{_ENDING} file, or a folder of them")
    return prompts


def compbench_path(out: Path, row: PromptRow, number: int) -> Path:
    """Where the image with this number, from 0 and counted through the category's prompts, belongs."""
    return out / row.extra["category"] / "samples" / f"{readable_name(row.prompt)}_{number:06d}.png"


def write_compbench_image(out: Path, row: PromptRow, number: int, picture: NDArray[np.uint8]) -> Path:
    """Write one image (3, H, W); its path. ``number`` as in ``compbench_path``."""
    return write_sample(compbench_path(out, row, number), picture)


def places_in_category(rows: Sequence[PromptRow]) -> list[int]:
    """How many prompts of its category come before each."""
    before, places = Counter[str](), list[int]()
    for row in rows:
        places.append(before[row.extra["category"]])
        before[row.extra["category"]] += 1
    return places


def write_compbench_prompts(out: Path, rows: Sequence[PromptRow], images: int = IMAGES) -> None:
    """Write each category's ``prompts.jsonl``: every file's name, and the prompt in full."""
    for category in dict.fromkeys(row.extra["category"] for row in rows):
        members = [row for row in rows if row.extra["category"] == category]
        files = [
            (compbench_path(out, row, k * images + i), row) for k, row in enumerate(members) for i in range(images)
        ]
        lines = [json.dumps({"file": path.name, "prompt": row.prompt}) + "\n" for path, row in files]
        write_atomic(out / category / "prompts.jsonl", "".join(lines).encode())


def readable_name(prompt: str) -> str:
    """The prompt as a file name may hold it, and as the evaluators will read it; never empty, at most 200 bytes."""
    kept = "".join(" " if c in _UNREADABLE or c.isspace() else c for c in prompt if _is_seen(c))
    name = " ".join(kept.split()).lstrip(". ")
    name = name.encode()[:_MAX_BYTES].decode(errors="ignore").strip()
    return name or "untitled"


def _is_seen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) not in _UNSEEN


def _read(file: Path) -> list[PromptRow]:
    category = file.name.removesuffix(_ENDING).removesuffix(".txt")
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read T2I-CompBench's list {file}: {error}") from None
    if not category.strip("."):
        raise InputError(f"{file}: its name must say the category, as in color{_ENDING}")
    texts = [line.strip() for line in lines if line.strip()]
    return [PromptRow(text, seed_of(text), extra={"category": category}) for text in texts]
