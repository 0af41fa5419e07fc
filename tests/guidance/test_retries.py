"""Which of a caller's pictures an image that is run again gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from latent_guard.errors import InputError
from latent_guard.pipelines.call import arguments_for


def pictures_of(image: Any, images: list[int], prompts: int = 3, per_prompt: int = 1) -> Any:
    return arguments_for(images, ["a"] * prompts, per_prompt, {"image": image}, 8)["image"]


def test_pictures_that_every_prompt_refers_to_are_given_again_as_they_were() -> None:
    """FLUX.2, Qwen-Image-Edit-Plus and Z-Image-Omni: two references, and two prompts."""
    pictures = ["one", "other"]
    chosen = arguments_for([1], ["a", "b"], 1, {"image": pictures}, 8, references=True)
    assert (chosen["prompt"], chosen["image"]) == (["b"], pictures)


def test_one_picture_is_shared_by_all() -> None:
    tensor, array = torch.rand(3, 8, 8), np.random.rand(8, 8, 3)
    for picture in (tensor, array):
        shared = pictures_of(picture, [1, 2])
        assert len(shared) == 2
        assert all(one is picture for one in shared)


def test_each_image_that_is_run_again_gets_its_own_picture() -> None:
    batch = torch.rand(3, 3, 8, 8)
    assert torch.equal(pictures_of(batch, [2]), batch[[2]])
    assert np.array_equal(pictures_of(batch.numpy(), [0, 2]), batch.numpy()[[0, 2]])
    assert pictures_of(["x", "y", "z"], [1, 2]) == ["y", "z"]


def test_pictures_may_be_one_an_image_where_a_prompt_has_several() -> None:
    assert pictures_of(["p", "q", "r", "s"], [1, 3], prompts=1, per_prompt=4) == ["q", "s"]
    assert pictures_of(["p", "q"], [1, 3], prompts=2, per_prompt=2) == ["p", "q"]


def test_another_number_of_pictures_is_refused() -> None:
    with pytest.raises(InputError, match="image has 2 entries for 3 prompts"):
        pictures_of(["p", "q"], [0])
