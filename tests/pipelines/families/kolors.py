"""Kolors."""

from __future__ import annotations

from functools import partial
from typing import Any

from diffusers.pipelines import kolors
from diffusers.pipelines.pag.pipeline_pag_kolors import KolorsPAGPipeline

from tests.pipelines.families.stable_diffusion import REDRAWN
from tests.pipelines.families.stable_diffusion_xl import POOLED, parts
from tests.pipelines.families.tiny import Tiny


class _Hidden(Tiny):
    """Of a class that diffusers shows at its top only beside sentencepiece, which nothing but its tokenizer needs."""

    @property
    def kind(self) -> Any:
        return KolorsPAGPipeline if "PAG" in self.name else getattr(kolors, self.name)


class _Pooling(_Hidden):
    """Of a class whose call does not hand the pooled embeds that it is given to its ``encode_prompt``."""

    def pipeline(self) -> Any:
        pipe = super().pipeline()
        pipe.encode_prompt = partial(_pooled, pipe.encode_prompt)
        return pipe


def _pooled(encode_prompt: Any, *, prompt_embeds: Any, negative_prompt_embeds: Any, **arguments: Any) -> Any:
    return encode_prompt(
        prompt_embeds=prompt_embeds,
        negative_prompt_embeds=negative_prompt_embeds,
        pooled_prompt_embeds=prompt_embeds.mean(1),
        negative_pooled_prompt_embeds=negative_prompt_embeds.mean(1),
        **arguments,
    )


FAMILIES: list[Tiny] = [
    _Hidden("KolorsPipeline", parts, POOLED),
    _Pooling("KolorsImg2ImgPipeline", parts, {**POOLED, **REDRAWN}),
    _Hidden("KolorsPAGPipeline", parts, POOLED),
]
