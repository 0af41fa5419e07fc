from __future__ import annotations

import json

import pytest

from latent_guard.errors import InputError
from latent_guard.latent_clip.config import LatentCLIPConfig


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
