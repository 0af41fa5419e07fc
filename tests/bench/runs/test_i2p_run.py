"""I2P through the harness, on an untrained bundle: one generator a prompt, figures as plain data, layouts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from latent_guard.bench.prompts.protocols import protocol_of
from latent_guard.bench.runs.run import open_spec, run
from latent_guard.bench.spec import Spec
from latent_guard.bench.spec_file import read_spec
from latent_guard.bench.task import MethodSpec, TaskSpec
from latent_guard.errors import InputError
from tests.bench.runs.test_evaluator_export import LINE

METHODS = (
    MethodSpec("unguarded"),
    MethodSpec("guard", {"policy": "flag"}),
    MethodSpec("negative-prompt"),
    MethodSpec("sld", {"preset": "max"}),
)


def made(bundle: Path, out: Path, spec: Spec) -> pd.DataFrame:
    pipe = StableDiffusionPipeline.from_pretrained(bundle / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    assert run(open_spec(spec, pipe, bundle, out / "cache"), out, "tried").finished
    return pd.read_parquet(out / "records.parquet")


@pytest.fixture(scope="module")
def finished(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    (out / "i2p.csv").write_text(
        'prompt,categories,sd_seed,sd_guidance_scale\na cat,hate,7,3\na dog,"hate, sexual",8,2\n'
    )
    task = TaskSpec("i2p", str(out / "i2p.csv"), 7, protocol="i2p")
    made(tiny_bundle, out, Spec("i2p", (task,), METHODS, MethodSpec("emoji-judge"), steps=2))
    return out


def test_the_unguarded_images_are_those_of_plain_calls_with_one_generator(tiny_bundle: Path, finished: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(tiny_bundle / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    records = pd.read_parquet(finished / "records.parquet")
    for prompt, seed, scale in (("a cat", 7, 3.0), ("a dog", 8, 2.0)):
        generator = torch.Generator().manual_seed(seed)
        plain = [
            picture
            for images in (5, 2)
            for picture in pipe(
                prompt,
                num_images_per_prompt=images,
                generator=generator,
                guidance_scale=scale,
                num_inference_steps=2,
                output_type="np",
            ).images
        ]
        rows = records[(records["method"] == "unguarded") & (records["prompt"] == prompt)]
        assert list(rows["generator_seed"]) == [seed] * 7
        own = [np.asarray(Image.open(finished / path)) for path in rows["image"]]
        np.testing.assert_array_equal(own, np.round(np.stack(plain) * 255).astype(np.uint8))
        assert len({picture.tobytes() for picture in own}) == 7


def test_every_method_takes_the_generator_over_from_call_to_call(finished: Path) -> None:
    records = pd.read_parquet(finished / "records.parquet")
    assert records.groupby("method", sort=False).size().to_dict() == {method.label: 14 for method in METHODS}
    flagged = records[records["method"] == "guard(policy=flag)"]
    unguarded = records[records["method"] == "unguarded"]
    for one, other in zip(flagged["image"], unguarded["image"], strict=True):
        assert (finished / one).read_bytes() == (finished / other).read_bytes()
    assert not records.duplicated(["method", "prompt_index", "seed"]).any()


def test_every_image_says_of_which_call_it_is_and_only_the_unguarded_method_that_it_is_unguarded(
    finished: Path,
) -> None:
    records = pd.read_parquet(finished / "records.parquet")
    assert (
        records.groupby("batch")["prompt_index"].agg(["size", "nunique"]).values.tolist() == [[7 * len(METHODS), 1]] * 2
    )
    assert set(records.loc[records["decision"] == "unguarded", "method"]) == {"unguarded"}


def test_the_summary_says_what_was_done_and_sets_published_figures_apart(finished: Path) -> None:
    found = json.loads((finished / "summary.json").read_text())["i2p"]
    task = found["tasks"]["i2p"]
    assert (task["mode"], task["split"], task["images_a_prompt"], task["calls"]) == ("paper", "all", 7, [5, 2])
    assert "ignored" in task["size"]
    figures = task["methods"]["unguarded"]
    assert set(figures["inappropriate"]) == {"hate", "sexual", "all"}
    assert figures["inappropriate"]["all"]["count"] == 14
    assert figures["expected_maximum"] is None  # of two prompts
    assert all(row["source"] and row["url"] for row in found["published"])
    assert set(task["methods"]) == {method.label for method in METHODS}


def test_the_expected_maximum_is_drawn_and_in_closed_form() -> None:
    count = 40
    records = pd.DataFrame(
        {
            "task": "i2p", "method": "unguarded", "categories": "hate", "blocked": False, "touched": False,
            "prompt": [f"prompt {n // 2}" for n in range(2 * count)],
            "prompt_index": [n // 2 for n in range(2 * count)],
            "unsafe": [n // 2 < 10 and n % 2 == 0 for n in range(2 * count)],
        }
    )  # fmt: skip
    task = TaskSpec("i2p", "x.csv", 2, protocol="i2p")
    maximum = protocol_of(task).summary({task: records})["i2p"]["tasks"]["i2p"]["methods"]["unguarded"][
        "expected_maximum"
    ]
    closed, drawn = maximum["closed_form"], maximum["monte_carlo"]
    assert maximum["prompts"] == count
    assert abs(closed["mean"] - drawn["mean"]) <= 3 * closed["std"] / np.sqrt(drawn["draws"]) + 1e-9
    assert 0.49 < closed["mean"] <= 0.5


def test_geneval_and_compbench_lie_as_their_evaluators_read_them_a_folder_a_method(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "metadata.jsonl").write_text(f"{LINE}\n{LINE.replace('two cows', 'two cats')}\n")
    (tmp_path / "color_val.txt").write_text("a green bench\na red bowl\n")
    tasks = (
        TaskSpec("geneval", str(tmp_path / "metadata.jsonl"), None, "benign", "geneval"),
        TaskSpec("color", str(tmp_path / "color_val.txt"), 3, "benign", "t2i-compbench"),
    )
    out = tmp_path / "run"
    methods = (MethodSpec("unguarded"), MethodSpec("negative-prompt", {"guidance_scale": 3}))
    records = made(tiny_bundle, out, Spec("x", tasks, methods, MethodSpec("emoji-judge"), steps=1))
    for place, method in enumerate(("unguarded", "negative_prompt_guidance_scale_3")):
        geneval = out / "official" / "geneval" / f"{place:02d}-{method}"
        assert sorted(path.relative_to(geneval).as_posix() for path in geneval.rglob("*.png")) == [
            f"0000{prompt}/samples/000{image}.png" for prompt in range(2) for image in range(4)
        ]
        assert json.loads((geneval / "00001" / "metadata.jsonl").read_text())["prompt"] == "two cats"
        samples = out / "official" / "color" / f"{place:02d}-{method}" / "color" / "samples"
        names = [
            f"{text}_{3 * k + i:06d}.png" for k, text in enumerate(("a green bench", "a red bowl")) for i in range(3)
        ]
        assert sorted(path.name for path in samples.iterdir()) == sorted(names)
    third = records[(records["method"] == "unguarded") & (records["prompt"] == "two cats")]["image"].iloc[2]
    laid = out / "official" / "geneval" / "00-unguarded" / "00001" / "samples" / "0002.png"
    assert (out / third).read_bytes() == laid.read_bytes()


def test_a_prompt_that_was_not_finished_is_made_again_from_its_first_call(
    tiny_bundle: Path, finished: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    part = out / "parts" / "i2p-00001-00.parquet"
    lost = pd.read_parquet(part)["image"]
    for path in (part, *(out / image for image in lost[3:])):
        path.unlink()
    spec = read_spec(out / "spec.yaml")
    again, before = made(tiny_bundle, out, spec), pd.read_parquet(finished / "records.parquet")
    pd.testing.assert_frame_equal(again.drop(columns=["seconds", "memory"]), before.drop(columns=["seconds", "memory"]))
    assert all((out / image).read_bytes() == (finished / image).read_bytes() for image in lost)


def test_prompts_without_guidance_are_left_out_for_all_methods_where_one_needs_it(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "i2p.csv").write_text(
        "prompt,categories,sd_seed,sd_guidance_scale\na cat,hate,7,3\na bee,hate,8,1\na dog,sexual,9,2\n"
    )
    task = TaskSpec("i2p", str(tmp_path / "i2p.csv"), 1, protocol="i2p")
    spec = Spec("i2p", (task,), (METHODS[0], METHODS[3]), MethodSpec("emoji-judge"), steps=1)
    records = made(tiny_bundle, tmp_path / "run", spec)
    assert records["prompt"].tolist() == ["a cat"] * 2 + ["a dog"] * 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["excluded_without_guidance"] == {"i2p": 1}
    alone = replace(spec, methods=METHODS[:1])
    assert len(made(tiny_bundle, tmp_path / "alone", alone)) == 3
    assert "excluded_without_guidance" not in json.loads((tmp_path / "alone" / "summary.json").read_text())
    (tmp_path / "i2p.csv").write_text("prompt,categories,sd_seed,sd_guidance_scale\na bee,hate,8,1\n")
    with pytest.raises(InputError, match="a guidance scale of 1 has none"):
        made(tiny_bundle, tmp_path / "none", spec)


def test_a_method_is_asked_about_the_scales_of_its_own_tasks_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    for name, scale in (("with", 3), ("without", 1)):
        (tmp_path / f"{name}.csv").write_text(f"prompt,evaluation_seed,evaluation_guidance\na cat,1,{scale}\n")
    tasks = (
        TaskSpec("with", str(tmp_path / "with.csv")),
        TaskSpec("without", str(tmp_path / "without.csv"), methods=("unguarded",)),
    )
    spec = Spec(
        "own", tasks, (MethodSpec("unguarded"), MethodSpec("negative-prompt")), MethodSpec("emoji-judge"), steps=1
    )
    assert len(made(tiny_bundle, tmp_path / "run", spec)) == 3
