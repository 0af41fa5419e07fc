from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import datasets
import pytest
import safetensors.torch
import torch
from PIL import Image

from latent_guard.errors import InputError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.tokenizer import tokenize
from latent_guard.sharding import Worker
from latent_guard.training.data import tar_shards
from latent_guard.training.data.in_memory import read_shards
from latent_guard.training.encoding.encode import encode
from latent_guard.training.encoding.encoder import Encoder
from latent_guard.training.encoding.plan import Encoded
from latent_guard.training.encoding.sources import Columns, open_source
from tests.training.images import (
    jpeg,
    samples_in,
    tiny_encoder,
    write_folder,
    write_parquet,
    write_tar,
    write_webdataset,
)

ALONE = Worker(0, 1)
ALL = sorted((f"{tar}-{number}", f"picture {tar}-{number}") for tar in range(2) for number in range(5))


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    return write_webdataset(tmp_path / "source", tars=2, samples=5)


def run(
    source: Path | str, out: Path, encoder: Encoder | None = None, worker: Worker = ALONE, rows: int = 2
) -> Encoded:
    return encode(open_source(str(source)), out, encoder or tiny_encoder(), worker, rows, show_progress=False)


def bad_rows(out: Path) -> dict[str, str]:
    return {row["key"]: row["reason"] for row in map(json.loads, (out / "bad.jsonl").read_text().splitlines())}


def test_datasets_opens_the_shards(tars: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    assert run(tars, tmp_path / "out", encoder) == Encoded(samples=10, shards=6, bad=0, finished=True)
    files = str(tmp_path / "out" / "*.tar")
    rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True))
    assert sorted((row["json"]["key"], row["txt"]) for row in rows) == ALL
    first = safetensors.torch.load(rows[0]["safetensors"])
    assert (first["latent"].dtype, first["latent"].shape) == (torch.float16, (4, 4, 4))
    assert torch.equal(first["tokens"].long(), tokenize(encoder.tokenizer, [rows[0]["txt"]])[0])
    assert LatentSpace(**rows[0]["json"]["latent_space"]) == encoder.latent_space


def test_a_tar_reader_finds_each_sample_under_one_name(tars: Path, tmp_path: Path) -> None:
    run(tars, tmp_path / "out")
    assert sorted(samples_in(tmp_path / "out")) == ALL


def test_training_reads_what_was_encoded_as_the_vae_encodes_it(tars: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    run(tars, tmp_path / "out", encoder)
    dataset = read_shards([tmp_path / "out"])
    assert dataset.captions == [(caption,) for _, caption in ALL]
    assert dataset.latent_space == encoder.latent_space
    assert dataset.noise_levels.tolist() == [0.0] * 10
    square = Image.open(io.BytesIO(jpeg(0))).resize((8, 8), Image.Resampling.LANCZOS, box=(0, 1, 10, 11))
    pixels = torch.tensor(list(square.tobytes())).view(8, 8, 3).permute(2, 0, 1) / 127.5 - 1
    with torch.no_grad():
        expected = encoder.vae.encode(pixels[None]).latent_dist.mode()[0]
    torch.testing.assert_close(dataset.latents[0].float(), expected, rtol=1e-2, atol=1e-2)


def test_latents_can_be_kept_in_bfloat16(tars: Path, tmp_path: Path) -> None:
    run(tars, tmp_path / "out", tiny_encoder("bfloat16"))
    files = str(tmp_path / "out" / "*.tar")
    row = next(iter(datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)))
    assert safetensors.torch.load(row["safetensors"])["latent"].dtype == torch.bfloat16
    assert len(read_shards([tmp_path / "out"])) == 10


def test_parquet_is_read_with_its_keys(tmp_path: Path) -> None:
    run(write_parquet(tmp_path / "images.parquet", samples=3), tmp_path / "out")
    assert samples_in(tmp_path / "out") == [(f"row {n}", f"picture {n}") for n in range(3)]


def test_a_hub_id_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.load_dataset("parquet", data_files=str(write_parquet(tmp_path / "a.parquet", 2)), split="train")
    asked: list[dict[str, object]] = []

    def hub(path: str, **arguments: object) -> datasets.IterableDataset:
        asked.append({"path": path, **arguments})
        return rows.to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", hub)
    source = open_source("owner/name", split="test")
    assert asked == [{"path": "owner/name", "split": "test", "streaming": True}]
    assert [sample.key for sample in source.samples(0, 1)] == ["row 1"]


def test_bad_images_are_counted_and_listed_and_never_fatal(tmp_path: Path) -> None:
    images = {"good.jpg": jpeg(0), "cut.jpg": jpeg(1)[:300], "no.jpg": b"not an image", "mute.jpg": jpeg(2)}
    captions = {"good.jpg": "a picture", "cut.jpg": "cut", "no.jpg": "none", "mute.jpg": "  "}
    done = run(write_folder(tmp_path / "images", captions, images), tmp_path / "out")
    assert done == Encoded(samples=1, shards=1, bad=3, finished=True)
    assert samples_in(tmp_path / "out") == [("good.jpg", "a picture")]
    reasons = bad_rows(tmp_path / "out")
    assert "truncated" in reasons["cut.jpg"].lower()
    assert "unknown format" in reasons["no.jpg"]
    assert reasons["mute.jpg"] == "no caption"


def test_latents_that_are_not_finite_are_bad_rows(tars: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    torch.nn.init.constant_(encoder.vae.quant_conv.bias, 1e6)
    with pytest.raises(InputError, match=r"no row of .* gave a sample; .*bad\.jsonl"):
        run(tars, tmp_path / "out", encoder)
    assert set(bad_rows(tmp_path / "out").values()) == {"its latent is not finite in float16"}


def test_a_truncated_tar_is_named_and_the_others_are_encoded(tars: Path, tmp_path: Path) -> None:
    whole = (tars / "00000.tar").read_bytes()
    (tars / "00000.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"00000\.tar is truncated.*copy it again"):
        run(tars, tmp_path / "out")
    assert {pair for pair in ALL if pair[0].startswith("1-")} <= set(samples_in(tmp_path / "out"))
    with pytest.raises(InputError, match="not finished; run the same `latent-guard encode`"):
        read_shards([tmp_path / "out"])
    (tars / "00000.tar").write_bytes(whole)
    assert run(tars, tmp_path / "out").finished
    assert sorted(samples_in(tmp_path / "out")) == ALL


def test_a_finished_folder_is_left_as_it_is(tars: Path, tmp_path: Path) -> None:
    run(tars, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert run(tars, tmp_path / "out").samples == 10
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")} == before


@pytest.mark.parametrize("machines", [2, 3])
def test_several_workers_write_what_one_would(tars: Path, tmp_path: Path, machines: int) -> None:
    run(tars, tmp_path / "alone")
    ends = [run(tars, tmp_path / "out", worker=Worker(index, machines)).finished for index in range(machines)]
    assert ends == [False] * (machines - 1) + [True]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_run_goes_on_with_another_number_of_workers(tars: Path, tmp_path: Path) -> None:
    run(tars, tmp_path / "alone")
    run(tars, tmp_path / "out", worker=Worker(1, 3))
    assert run(tars, tmp_path / "out").finished
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


class FullDisk(io.FileIO):
    """A file of a disk with so many bytes left."""

    left = 30_000

    def write(self, content: object) -> int:
        FullDisk.left -= len(bytes(content))  # type: ignore[call-overload]
        if FullDisk.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)  # type: ignore[arg-type]


def test_a_full_disk_ends_it_with_one_error_and_good_shards(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tar_shards, "open_for_writing", lambda path: FullDisk(path, "w"))
        with pytest.raises(InputError, match=r"No space left on device.*finished shards are good.*same command"):
            run(tars, tmp_path / "out")
    written = samples_in(tmp_path / "out")
    assert 0 < len(written) < 10
    assert not list((tmp_path / "out").glob("*.part"))
    run(tars, tmp_path / "out")
    assert sorted(samples_in(tmp_path / "out")) == ALL


def test_two_writers_of_one_tar_leave_a_whole_one(tmp_path: Path) -> None:
    space, latent = LatentSpace("toy VAE", 4, 8), torch.zeros(4, 2, 2)
    first, second = (tar_shards.TarShardWriter(tmp_path / "a.tar", space) for _ in range(2))
    first.__enter__()
    first.add("0", "0", latent, torch.zeros(3), "of the first")
    with second:
        second.add("0", "0", latent, torch.zeros(3), "of the second")
        with pytest.raises(OSError, match=r"another process writes a\.tar too"):
            first.__exit__(None, None, None)
    assert samples_in(tmp_path) == [("0", "of the second")]
    assert not list(tmp_path.glob("*.part"))


def test_other_settings_do_not_go_into_the_same_folder(tars: Path, tmp_path: Path) -> None:
    run(tars, tmp_path / "out")
    with pytest.raises(InputError, match="begun with dtype float16, not bfloat16"):
        run(tars, tmp_path / "out", tiny_encoder("bfloat16"))
    with pytest.raises(InputError, match="begun with rows_per_shard 2, not 3"):
        run(tars, tmp_path / "out", rows=3)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "half", "1/0", "1/2/3"])
def test_a_share_that_does_not_exist_is_refused(shard: str) -> None:
    with pytest.raises(InputError, match="from 1 to n"):
        Worker.of(shard, 0, 1)
    assert Worker.of("2/3", 1, 4) == Worker(5, 12)


def test_sources_that_cannot_be_used_are_refused_with_the_mend(tars: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "0.jpg").write_bytes(jpeg(0))
    for source, message in (
        (tmp_path / "absent.zip", "does not exist"),
        (tmp_path / "bare", r"no column of captions.*metadata\.jsonl"),
        (write_tar(tmp_path / "texts.tar", [("0.txt", b"a text")]), "no column of images.*--image-column"),
    ):
        with pytest.raises(InputError, match=message):
            open_source(str(source))
    with pytest.raises(InputError, match=r"no column title; it has jpg, txt"):
        open_source(str(tars), columns=Columns(caption="title"))


def test_a_size_that_the_vae_cannot_take_is_refused(tars: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    odd = Encoder(encoder.vae, "tiny", encoder.tokenizer, 9, "float16", 2)
    with pytest.raises(InputError, match="size 9 is not a multiple of 2"):
        run(tars, tmp_path / "out", odd)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
