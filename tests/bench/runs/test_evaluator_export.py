"""GenEval's and T2I-CompBench's folders, read back as their evaluators read them; prompts are hostile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from latent_guard.bench.prompts.compbench import (
    compbench_path,
    read_compbench,
    readable_name,
    write_compbench_image,
    write_compbench_prompts,
)
from latent_guard.bench.prompts.geneval import read_geneval, write_geneval_image
from latent_guard.bench.prompts.rows import PromptRow
from latent_guard.errors import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data"
PICTURE = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
LINE = '{"tag": "counting", "include": [{"class": "cow", "count": 2}], "prompt": "two cows"}'
HOSTILE = [
    "../../etc/passwd",
    "a_b_c",
    ".hidden",
    "...",
    "",
    " \t\n",
    "x" * 10_000,
    "é" * 10_000,
    'a/b\\c:d*e?f"g<h>i|j',
    "nul\0byte\u202eright to left",
    "🪦 a grave\ud800",
    "CON",
]


def colored(prompt: str) -> PromptRow:
    return PromptRow(prompt, 1, extra={"category": "color"})


def test_geneval_finds_each_prompts_metadata_and_images(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(f"{LINE}\n{LINE.replace('two cows', '../../two_cows')}\n")
    prompts = read_geneval(tmp_path / "metadata.jsonl")
    for index, prompt in enumerate(prompts):
        for image in range(4):
            write_geneval_image(tmp_path / "out", index, prompt, image, PICTURE)
    folders = sorted((tmp_path / "out").iterdir())
    assert [folder.name for folder in folders] == ["00000", "00001"]
    for folder, prompt in zip(folders, prompts, strict=True):
        assert json.loads((folder / "metadata.jsonl").read_text()) == json.loads(prompt.extra["metadata"])
        assert sorted(path.name for path in (folder / "samples").iterdir()) == [f"000{i}.png" for i in range(4)]
    np.testing.assert_array_equal(
        np.asarray(Image.open(folders[1] / "samples" / "0003.png")).transpose(2, 0, 1), PICTURE
    )
    assert (prompts[0].extra["tag"], prompts[0].prompt, prompts[0].seed) == ("counting", "two cows", 42)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the lists are not part of the project")
def test_the_published_lists_are_read_whole() -> None:
    prompts = read_geneval(SHARED / "geneval_metadata.jsonl")
    assert len(prompts) == 553
    assert len({prompt.extra["tag"] for prompt in prompts}) == 6
    lists = read_compbench(SHARED / "t2i_compbench")
    assert len({prompt.extra["category"] for prompt in lists}) == 8
    assert {"3d_spatial", "color"} <= {prompt.extra["category"] for prompt in lists}
    assert all(readable_name(prompt.prompt) == prompt.prompt for prompt in lists)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"tag": "x", "prompt": "y"}',
        '{"tag": 1, "prompt": "y", "include": []}',
        '{"tag": "x", "prompt": 1, "include": []}',
        '{"tag": "x", "prompt": "\\ud800", "include": []}',
    ],
)
def test_what_is_not_genevals_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(f"{LINE}\n{text}\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: not GenEval's metadata"):
        read_geneval(tmp_path / "a.jsonl")


def test_what_a_crash_leaves_is_never_among_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latent_guard.files.png.os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_compbench_image(tmp_path, colored("a cat"), 0, PICTURE)
    assert not list((tmp_path / "color" / "samples").iterdir())


def test_compbench_reads_each_prompt_before_the_first_underscore_and_the_number_after_the_last(tmp_path: Path) -> None:
    (tmp_path / "color_val.txt").write_text("a green bench\n\n a red_blue bowl \n")
    prompts = read_compbench(tmp_path / "color_val.txt")
    for number, prompt in enumerate(prompts):
        write_compbench_image(tmp_path / "out", prompt, number, PICTURE)
    write_compbench_prompts(tmp_path / "out", prompts, images=1)
    files = sorted(path.name for path in (tmp_path / "out" / "color" / "samples").iterdir())
    assert files == ["a green bench_000000.png", "a red blue bowl_000001.png"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "color" / "prompts.jsonl").read_text().splitlines()]
    assert lines[1] == {"file": files[1], "prompt": "a red_blue bowl"}
    assert [line["file"] for line in lines] == files


@pytest.mark.parametrize("prompt", HOSTILE, ids=lambda prompt: ascii(prompt)[:20])
def test_a_hostile_prompt_stays_in_its_folder_and_is_found_again(tmp_path: Path, prompt: str) -> None:
    path = write_compbench_image(tmp_path, colored(prompt), 12, PICTURE)
    (found,) = (tmp_path / "color" / "samples").iterdir()
    assert found == path
    assert re.fullmatch(r"[^_]+_000012\.png", found.name)
    assert not found.name.startswith(".")
    write_compbench_prompts(tmp_path, [colored(prompt)], images=1)
    assert json.loads((tmp_path / "color" / "prompts.jsonl").read_text())["prompt"] == prompt


@settings(max_examples=300)
@given(st.text(st.characters(codec=None)), st.integers(0, 999_999))
def test_any_prompt_makes_a_file_name(prompt: str, number: int) -> None:
    path = compbench_path(Path("out"), colored(prompt), number)
    assert path.parent == Path("out/color/samples")
    assert len(path.name.encode()) <= 211
    assert path.name.split("_")[0].strip()
    assert int(path.name.split("_")[-1].split(".")[0]) == number
    assert path.name.count("_") == 1


def test_a_list_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no prompts"):
        read_compbench(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        read_compbench(tmp_path / "none_val.txt")
    (tmp_path / ".._val.txt").write_text("a cat")
    with pytest.raises(InputError, match="its name must say the category"):
        read_compbench(tmp_path / ".._val.txt")
