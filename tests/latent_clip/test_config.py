from __future__ import annotations

import json
from typing import Any

import pytest

from latent_guard.building import build
from latent_guard.errors import InputError
from latent_guard.latent_clip.config import LatentCLIPConfig
from latent_guard.latent_clip.latent_space import LatentSpace


def test_a_config_survives_json(tiny_config: LatentCLIPConfig):
    assert LatentCLIPConfig.from_dict(json.loads(json.dumps(tiny_config.to_dict()))) == tiny_config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("colour",), 1, "unknown key 'colour'"),
        (("vision", "depth"), 1, "vision: unknown key 'depth'"),
        (("vision", "width"), "32", "width must be a whole number"),
        (("text", "layers"), True, "layers must be a whole number"),
        (("reads_noise_level",), 1, "reads_noise_level must be true or false"),
        (("vision", "patch_size"), 3, "not a multiple of patch_size 3"),
        (("text", "heads"), 5, "not a multiple of heads 5"),
        (("vision", "layers"), 0, "layers must be a whole number from 1 to 128, not 0"),
        (("vision", "channels"), 3, "channels is 3, but latents of toy VAE have 4"),
        (("text",), None, "expected keys and values"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(tiny_config: LatentCLIPConfig, path, value, message):
    data = tiny_config.to_dict()
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        LatentCLIPConfig.from_dict(data)


def test_a_missing_key_is_named(tiny_config: LatentCLIPConfig):
    data = tiny_config.to_dict()
    del data["text"]["width"]
    with pytest.raises(InputError, match="text: missing key 'width'"):
        LatentCLIPConfig.from_dict(data)


@pytest.mark.parametrize("value", [10**400, 10**9, -1, 0, 1.0, "8", True, None, float("nan"), [8]])
@pytest.mark.parametrize(
    "path",
    [
        ("embed_dim",),
        *(("vision", name) for name in ("channels", "size", "patch_size", "width", "layers", "heads")),
        *(("text", name) for name in ("context_length", "vocab_size", "width", "layers", "heads")),
        *(("latent_space", name) for name in ("channels", "factor")),
    ],
)
def test_no_dimension_is_beyond_all_that_is_known(tiny_config: LatentCLIPConfig, path: tuple[str, ...], value: Any):
    data = tiny_config.to_dict()
    place = data[path[0]] if len(path) > 1 else data
    place[path[-1]] = value
    with pytest.raises(InputError, match=path[-1]):
        LatentCLIPConfig.from_dict(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("scaling_factor", value) for value in (0, -1.0, float("nan"), float("inf"), 1e300, "1", True, 10**400)),
        *(("shift_factor", value) for value in (float("nan"), float("-inf"), 1e300, None)),
        ("mean", [float("nan")] * 4),
        ("std", [0.0] * 4),
        ("std", [-1.0] * 4),
        ("std", "1111"),
    ],
)
def test_a_latent_space_has_numbers_that_can_be_computed_with(name: str, value: Any):
    space = {"name": "x", "channels": 4, "factor": 8, "mean": [0.0] * 4, "std": [1.0] * 4, name: value}
    with pytest.raises(InputError, match=name):
        build(LatentSpace, space, "here")
