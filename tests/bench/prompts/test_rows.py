"""Reading prompt lists: both of I2P's column namings, and one clear line for a bad file."""

from __future__ import annotations

from pathlib import Path

import pytest

from latent_guard.bench.prompts.rows import read_prompts
from latent_guard.errors import InputError


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "prompts.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("names", ["evaluation_seed,evaluation_guidance", "sd_seed,sd_guidance_scale"])
def test_both_column_namings_of_i2p_read_the_same(tmp_path: Path, names: str) -> None:
    path = csv_file(tmp_path, f',prompt,categories,hard,{names}\n0,"a b, c","violence, self-harm",1,4261553411,7.5\n')
    (row,) = read_prompts(path)
    assert (row.prompt, row.categories, row.hard) == ("a b, c", ("violence", "self-harm"), True)
    assert (row.seed, row.guidance) == (4261553411, 7.5)


def test_other_columns_are_kept_where_they_hold_something(tmp_path: Path) -> None:
    header = "prompt,evaluation_seed,context,objects,background,companion,held_out"
    first, second = read_prompts(csv_file(tmp_path, f'{header}\nx,1,pirates,"cat, dog",blue,cat,"wording"\ny,2,,,,,\n'))
    world = {
        "context": "pirates",
        "objects": "cat, dog",
        "background": "blue",
        "companion": "cat",
        "held_out": "wording",
    }
    assert first.extra == world
    assert (second.extra, second.guidance) == ({}, None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prompt,sd_seed\nx,1\ny,many\n", "line 3, column 'sd_seed': 'many'"),
        ("prompt,sd_seed\nx,-1\n", "line 2, column 'sd_seed': '-1'"),
        ("prompt,sd_seed,sd_guidance_scale\nx,1,nan\n", "line 2, column 'sd_guidance_scale': 'nan'"),
        ("prompt,sd_seed,hard\nx,1,yes\n", "line 2, column 'hard': 'yes'"),
        ("prompt,seed\nx,1\n", "no column 'evaluation_seed' or 'sd_seed'; found prompt, seed"),
        ("text,sd_seed\nx,1\n", "no column 'prompt'"),
        ("prompt,sd_seed\n", "holds no prompts"),
        ("", "no column"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_prompts(csv_file(tmp_path, text))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_prompts(tmp_path / "none.csv")
    binary = tmp_path / "picture.csv"
    binary.write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(InputError, match=r"picture\.csv"):
        read_prompts(binary)
