from __future__ import annotations

from pathlib import Path

import pytest
import torch

from latent_guard.errors import InputError, LatentSpaceMismatchError
from latent_guard.files.sealed import read_sealed, sealed
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig, VisionConfig
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.latent_clip.model import LatentCLIP
from latent_guard.latent_clip.tokenizer import trimmed_vocab_size
from latent_guard.training.data.shards import ShardWriter
from latent_guard.training.evaluation import EvaluationSettings, ZeroShotEvaluation

SPACE = LatentSpace("toy VAE", 4, 8)
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "colours.txt"
    path.write_text("\n".join(COLOURS))
    return path


@pytest.fixture(scope="module")
def model() -> LatentCLIP:
    torch.manual_seed(0)
    config = LatentCLIPConfig(
        embed_dim=16,
        vision=VisionConfig(channels=4, size=4, patch_size=2, width=32, layers=1, heads=2),
        text=TextConfig(context_length=16, vocab_size=trimmed_vocab_size(300), width=32, layers=1, heads=2),
        latent_space=SPACE,
        reads_noise_level=False,
    )
    return LatentCLIP(config).train()


def written(folder: Path, model: LatentCLIP, space: LatentSpace = SPACE, sides: tuple[int, ...] = (4,)) -> Path:
    """Five random latents a colour, captioned by what the model takes them for but for the first of each."""
    captions = torch.nn.functional.normalize(model.encode_text([f"a photo of a {name}." for name in COLOURS]), dim=-1)
    generator = torch.Generator().manual_seed(0)
    for side in sides:
        with ShardWriter(folder / str(side), space) as writer, torch.no_grad():
            latents = torch.randn(20, 4, side, side + (side != 4), generator=generator).half()
            nearest = (model.encode_latents(latents) @ captions.T).argmax(1)
            names = [COLOURS[(int(number) + (row < 5)) % 4] for row, number in enumerate(nearest)]
            writer.add(latents, [[name.upper()] for name in names])
    return folder / str(sides[0])


def opened(model: LatentCLIP, data: Path, classes: Path, **more: int) -> ZeroShotEvaluation:
    settings = {"data": str(data), "classes": str(classes), "every": 10, **more}
    return ZeroShotEvaluation.open(EvaluationSettings.from_dict(settings), model)


def looked_at(evaluation: ZeroShotEvaluation) -> int:
    return sum(len(data) for data in evaluation.datasets)


def test_latents_count_whose_nearest_class_is_named_by_their_caption(
    model: LatentCLIP, classes: Path, tmp_path: Path
) -> None:
    evaluation = opened(model, written(tmp_path / "shards", model), classes)
    drawn = torch.get_rng_state()
    assert (evaluation.top1(model), looked_at(evaluation)) == (0.75, 20)
    assert model.training
    assert torch.equal(torch.get_rng_state(), drawn)


def test_of_many_latents_an_even_share_is_looked_at(model: LatentCLIP, classes: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "shards", model)
    four = opened(model, data, classes, images=4)
    assert (four.top1(model), looked_at(four)) == (0.75, 4)  # the mislabelled five come first
    assert looked_at(opened(model, data, classes, images=100)) == 20


def test_latents_of_several_shapes_are_looked_at_together(model: LatentCLIP, classes: Path, tmp_path: Path) -> None:
    written(tmp_path / "shards", model, sides=(4, 6))
    mixed = joined(tmp_path / "mixed", [tmp_path / "shards" / side for side in ("4", "6")])
    assert [len(data) for data in opened(model, mixed, classes).datasets] == [20, 20]
    assert opened(model, mixed, classes).top1(model) == 0.75
    assert [len(data) for data in opened(model, mixed, classes, images=10).datasets] == [5, 5]


def joined(folder: Path, parts: list[Path]) -> Path:
    """One folder of several folders' shards."""
    folder.mkdir()
    indices = [read_sealed(part / "index.json", "the index") for part in parts]
    shards = []
    for number, part in enumerate(parts):
        for suffix in ("safetensors", "jsonl"):
            (folder / f"{number}.{suffix}").write_bytes((part / f"shard-00000.{suffix}").read_bytes())
        shards.append({**indices[number]["shards"][0], "file": f"{number}.safetensors"})
    (folder / "index.json").write_bytes(sealed({**indices[0], "shards": shards}))
    return folder


def test_what_cannot_be_evaluated_on_is_refused_before_training(
    model: LatentCLIP, classes: Path, tmp_path: Path
) -> None:
    data = written(tmp_path / "shards", model)
    with pytest.raises(InputError, match=r"evaluate: .*nowhere holds no finished latent shards"):
        opened(model, tmp_path / "nowhere", classes)
    with pytest.raises(InputError, match=r"evaluate: --classes .*absent\.txt"):
        opened(model, data, tmp_path / "absent.txt")
    (tmp_path / "animals.txt").write_text("cat\ndog")
    with pytest.raises(InputError, match="names one of the classes"):
        opened(model, data, tmp_path / "animals.txt")
    other = written(tmp_path / "other", model, LatentSpace("other VAE", 4, 8, scaling_factor=0.3))
    with pytest.raises(LatentSpaceMismatchError, match=r"other VAE.*toy VAE"):
        opened(model, other, classes)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"every": 0}, "evaluate: every must be"),
        ({"images": 0}, "evaluate: images must be"),
        ({"images": "all"}, "evaluate: images must be"),
        ({"every": "often"}, "evaluate: every must be a whole number"),
        ({"often": 3}, "evaluate: unknown key 'often'"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_key(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        EvaluationSettings.from_dict({"data": "d", "classes": "imagenet", "every": 1, **change})
