"""GenEval (D. Ghosh, H. Hajishirzi, L. Schmidt, 2023): its prompts, and images laid out as its evaluator reads them.

    OUT/00000/metadata.jsonl         the prompt's line of the metadata, unchanged
    OUT/00000/samples/0000.png       four images a prompt

No prompt becomes part of a path: folders and files are numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.errors import InputError
from latent_guard.files.atomic import write_atomic
from latent_guard.files.documents import json_value, read_text
from latent_guard.files.png import write_sample

IMAGES = 4
SEED = 42  # the official runner seeds every prompt alike


def read_geneval(path: Path | str) -> list[PromptRow]:
    """Read GenEval's metadata, JSON lines; ``extra`` of a prompt holds its ``tag`` and its line of ``metadata``.

    Raises:
        InputError: no such file, or a line is not GenEval's (names it).
    """
    path = Path(path)
    lines = read_text(path, "GenEval's metadata").split("\n")
    prompts = [_prompt(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not prompts:
        raise InputError(f"{path} holds no prompts")
    return prompts


def write_geneval_image(out: Path, index: int, row: PromptRow, image: int, picture: NDArray[np.uint8]) -> Path:
    """Write one image (3, H, W) of the prompt with this index from 0, its metadata first; the image's path."""
    folder = out / f"{index:05d}"
    metadata = folder / "metadata.jsonl"
    if not metadata.exists():
        write_atomic(metadata, f"{row.extra['metadata']}\n".encode())
    return write_sample(folder / "samples" / f"{image:04d}.png", picture)


def _prompt(path: Path, number: int, line: str) -> PromptRow:
    try:
        metadata = json_value(line, f"{path}, line {number}")
        prompt, tag = metadata["prompt"], metadata["tag"]
        known = isinstance(prompt, str) and isinstance(tag, str) and isinstance(metadata["include"], list)
    except (InputError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"{path}, line {number}: not GenEval's metadata, a JSON object with tag, include and prompt")
    return PromptRow(prompt, SEED, extra={"tag": tag, "metadata": json.dumps(metadata)})
