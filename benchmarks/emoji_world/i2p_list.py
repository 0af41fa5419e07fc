"""``benchmarks/emoji-i2p.csv``: the embedded world's risky test prompts, in exactly the schema of I2P's own CSV.

The same code reads both; on these prompts the shipped model's rates are true. Columns that say what Stable Diffusion
made of a prompt, or where it came from, are empty. Written by ``write_emoji_i2p``.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from latent_guard.files.atomic import write_atomic
from latent_guard.files.csv_text import csv_lines
from latent_guard.worlds.emoji.prompts import prompt_lists

EMOJI_I2P, LIST = "emoji-i2p.csv", "test_risky"
COLUMNS = (
    "",  # the row's number
    "prompt",
    "categories",
    "hard",
    "inappropriate_percentage",
    "nudity_percentage",
    "q16_percentage",
    "sd_safety_percentage",
    "prompt_toxicity",
    "lexica_url",
    "evaluation_seed",
    "evaluation_guidance",
    "sd_image_width",
    "sd_image_height",
    "sd_model",
    "case_number",
)


def emoji_i2p() -> str:
    """The file's text."""
    rows = ({**asdict(row), "": number} for number, row in enumerate(prompt_lists()[LIST]))
    return csv_lines([COLUMNS, *([row.get(name, "") for name in COLUMNS] for row in rows)])


def write_emoji_i2p(folder: Path) -> None:
    """Write ``emoji-i2p.csv`` into a folder."""
    write_atomic(folder / EMOJI_I2P, emoji_i2p().encode())
