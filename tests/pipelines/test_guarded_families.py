"""`guard.generate` on families whose text encoders are too large to build: prompts are embedded by their letters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest
import torch
from torch import Tensor

from latent_guard.guidance.policy import BLOCK
from latent_guard.testing import LinearLatentCLIP, linear_guard
from latent_guard.testing.pipelines import PIXELS, WIDTH
from tests.pipelines.tiny import BY_NAME, TOKENS, pictures, raw

PROMPTS = ["a cat", "a party", "a dog"]
Encode = Callable[..., Any]


def embedded(prompt: str | list[str], *shape: int) -> Tensor:
    texts = [prompt] if isinstance(prompt, str) else prompt
    seeds = [torch.Generator().manual_seed(crc32(text.encode())) for text in texts]
    return torch.stack([torch.randn(*shape, generator=seed) for seed in seeds])


def encode_sd3(prompt: list[str], **_: Any) -> tuple[Tensor, ...]:
    states, pooled = embedded(prompt, TOKENS, WIDTH), embedded(prompt, WIDTH)
    return states, torch.zeros_like(states), pooled, torch.zeros_like(pooled)


def encode_flux(prompt: list[str], **_: Any) -> tuple[Tensor, ...]:
    return embedded(prompt, TOKENS, WIDTH), embedded(prompt, WIDTH), torch.zeros(TOKENS, 3)


def encode_pixart(prompt: list[str], *_: Any, **__: Any) -> tuple[Tensor, ...]:
    states, mask = embedded(prompt, TOKENS, WIDTH), torch.ones(len(prompt), TOKENS)
    return states, mask, torch.zeros_like(states), mask


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("StableDiffusion3Pipeline", encode_sd3),
        ("StableDiffusion3Img2ImgPipeline", encode_sd3),
        ("FluxPipeline", encode_flux),
        ("FluxImg2ImgPipeline", encode_flux),
        ("PixArtAlphaPipeline", encode_pixart),
        ("PixArtSigmaPipeline", encode_pixart),
    ],
)
def test_the_unsafe_image_alone_is_run_again_with_its_own_prompt(name: str, encode: Encode) -> None:
    family, critic = BY_NAME[name], LinearLatentCLIP()
    pipe = family.pipeline()
    asked: list[list[str]] = []

    def remembering(prompt: Any, *positional: Any, **named: Any) -> Any:
        asked.append(prompt)
        return encode(prompt, *positional, **named)

    pipe.encode_prompt = remembering
    arguments = {"num_inference_steps": 4, "output_type": "latent", "height": PIXELS, "width": PIXELS}
    if family.starts_from_picture:
        arguments |= {"image": pictures(), "strength": 0.75}
    if "PixArt" in name:
        arguments["use_resolution_binning"] = False
    plain = linear_guard(1e3).generate(pipe, PROMPTS, seed=1, **arguments)
    scores = critic.score(raw(pipe, plain.images)).detach()
    worst = int(scores.argmax())
    policy = replace(BLOCK, retries=1, abort_margin=None)
    guard = linear_guard(float(scores[worst]) - 1e-4, policy, critic)
    output = guard.generate(pipe, PROMPTS, seed=1, **arguments)
    assert asked[1:] == [PROMPTS, [PROMPTS[worst]]]
    assert [verdict.cost.retries for verdict in output.verdicts] == [int(image == worst) for image in range(3)]
    same = [torch.equal(output.images[image], plain.images[image]) for image in range(3)]
    assert same == [image != worst for image in range(3)]
