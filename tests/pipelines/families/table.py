"""The tables of pipeline classes in README.md and docs/pipelines.md, from what is tested.

`python -m tests.pipelines.families.table` writes both.
"""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from latent_guard.pipelines.families import Family
from latent_guard.pipelines.family_table import KNOWN
from tests.pipelines import families
from tests.pipelines.families.tiny import Tiny

ROOT = Path(__file__).parents[3]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "pipelines.md"
NAMED = {  # for people who look for theirs
    "pictures": "Stable Diffusion 1.5, 2, XL, 3 and 3.5, FLUX.1, FLUX.2 and FLUX.3, Z-Image, Qwen-Image and its edits, "
    "Krea 2, Chroma, HiDream, Sana, Ideogram 4, HunyuanImage, and more",
    "videos": "Wan, LTX, HunyuanVideo, CogVideoX, AnimateDiff, Stable Video Diffusion, Cosmos, and more",
    "decoder": "whatever a known VAE decodes",
}
BEGIN, END = "<!-- pipelines: made by tests/pipelines/families/table.py -->\n", "<!-- end of pipelines -->"


def lines() -> list[str]:
    """Markdown, one line for each way of carrying latents."""
    classes: dict[str, list[str]] = defaultdict(list)
    for name, family in KNOWN.items():
        classes[_carried(family)].append(name.removesuffix("Pipeline"))
    decoded = dict.fromkeys(tiny.name.split("-")[0].removesuffix("Pipeline") for tiny in listed("DECODED"))
    classes["anything: the decoder alone is guarded"] = list(decoded)
    rows = [f"| {carried} | {len(names)} | {', '.join(names)} |" for carried, names in classes.items()]
    return [
        "| What `scheduler.step` carries | Classes | diffusers' classes, without `Pipeline` |",
        "|---|---|---|",
        *rows,
    ]


def listed(name: str) -> list[Tiny]:
    """What the modules beside this one list under a name: FAMILIES, or DECODED."""
    modules = [import_module(f"{families.__name__}.{module.name}") for module in iter_modules(families.__path__)]
    return [tiny for module in modules for tiny in getattr(module, name, ())]


def one_of_each_row_first(tinies: list[Tiny]) -> list[Any]:
    """Parameters of a test: the first class of each row, and the others as slow ones."""
    seen: list[Family | None] = []
    marked = []
    for tiny in tinies:
        row = KNOWN.get(tiny.name.split("-")[0])
        marked.append(pytest.param(tiny, id=tiny.name, marks=[pytest.mark.slow] if row in seen else []))
        seen.append(row)
    return marked


def _carried(family: Family) -> str:
    shape = {"bchw": "latents", "bnd": "tokens", "nd": "tokens of one", "bcthw": "latents with a time axis"}
    shape |= {"btchw": "latents with a time axis before the channels", "bthwc": "latents, channels last"}
    patch = f" of {family.patch} x {family.patch}" if family.patch > 1 else ""
    videos = "videos: " if family.video else ""
    return f"{videos}{shape[family.axes]}{patch}, by the VAE's {' and '.join(family.norm)}"


def readme_lines() -> list[str]:
    """Markdown, a line for each way of being guarded."""
    videos = [name for name, family in KNOWN.items() if family.video]
    modular = [name for name in KNOWN if "Modular" in name]
    alone = {tiny.name.split("-")[0] for tiny in listed("DECODED")}
    pictures = len(KNOWN) - len(videos)
    return [
        "| Guarded | diffusers' classes |",
        "|---|---|",
        f"| pictures, at steps and decoder | {pictures}: {NAMED['pictures']}; {len(modular)} of all are modular |",
        f"| videos, at both: flagged, blocked, ended early | {len(videos)}: {NAMED['videos']} |",
        f'| at the decoder (`gate="decode"`) | these, {len(alone)} more that are tested, and {NAMED["decoder"]} |',
    ]


def readme_with_table(text: str) -> str:
    """The README with these lines in the place of those that it has."""
    before, rest = text.split("| Guarded |")
    return before + "\n".join(readme_lines()) + "\n\n" + rest.split("\n\n", 1)[1]


def page_with_table(text: str) -> str:
    """The page with the table between its marks."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + "\n".join(lines()) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    README.write_text(readme_with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
