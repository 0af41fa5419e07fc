"""An iteration of ReNO at the size of SDXL-Turbo, random weights: as arithmetic on the meta device, or to be run."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
from published import CASES, PIXEL_TOWERS, PixelCLIP, latent_vit, made_on, sdxl_unet, sdxl_vae
from torch import Tensor
from torch.nn import functional as nnf
from torch.utils.flop_counter import FlopCounterMode

from latent_guard.reno.rewards import FunctionReward, Reads, Reward

CASE = CASES["SDXL 512 px"]
LATENT_TOWERS = {"Latent-ViT B/8": 8, "Latent-ViT B/4-plus": 4}
PIXEL = "pixel CLIP "
REWARDS = (*LATENT_TOWERS, *(PIXEL + name for name in PIXEL_TOWERS))
TURBO: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
}


@dataclass(frozen=True)
class Counted:
    """An iteration in numbers: GFLOP forward and backward, and GiB that are kept for the way back."""

    gflop: float
    kept_gib: float


class RenoParts:
    """Denoiser, decoder and towers, each made when first needed; weights take no gradient."""

    def __init__(self, device: str, dtype: torch.dtype, miniature: bool) -> None:
        self.device, self.dtype, self.miniature = device, dtype, miniature
        self.side = CASE.side(miniature)

    @cached_property
    def vae(self) -> Any:
        return self._made(sdxl_vae)

    @cached_property
    def unet(self) -> Any:
        return self._made(sdxl_unet)

    @cached_property
    def pipe(self) -> Any:
        """As SDXL-Turbo's, without text encoders: random embeddings stand for the prompt's."""
        scheduler = EulerAncestralDiscreteScheduler(**TURBO)
        pipe = StableDiffusionXLPipeline(
            self.vae,
            None,
            None,
            None,
            None,
            self.unet,
            scheduler,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
        inputs = {name: value.to(self.device, self.dtype) for name, value in CASE.inputs(self.unet.config, 1).items()}
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")

        def encode_prompt(_pipe: Any, *_args: Any, **_named: Any) -> tuple[Tensor, ...]:
            return tuple(inputs[name] for name in names)

        pipe.encode_prompt = types.MethodType(encode_prompt, pipe)
        return pipe

    def reward(self, name: str) -> Reward:
        """Cosine with a random text embedding, by a tower of ``REWARDS``."""
        tower, reads = self._tower(name)
        text: list[Tensor] = []

        def cosine(inputs: Tensor, prompts: Sequence[str]) -> Tensor:
            features = tower(inputs)
            text[:] = text or [nnf.normalize(torch.randn_like(features), dim=-1)]
            return 100 * (features.float() * text[0]).sum(dim=1)

        return FunctionReward(cosine, name, reads)

    def count(self, name: str) -> Counted:
        """One iteration of one image, one step, on the meta device."""
        reward, counter = self.reward(name), FlopCounterMode(display=False)
        noise = torch.randn(1, 4, self.side, self.side, device=self.device, dtype=self.dtype, requires_grad=True)
        with counter, _kept(self._modules(name)) as kept:
            latents = noise - CASE.denoise(self.unet, noise).sample
            pixels = self.vae.decode(latents).sample if reward.reads is Reads.PIXELS else latents
            total = reward.bind(["a prompt"])(pixels.float())
            total.sum().backward()
        return Counted(counter.get_total_flops() / 1e9, sum(kept.values()) / 2**30)

    def weights_gib(self, name: str) -> float:
        """Of all models that an iteration needs; towers are in float32."""
        return sum(p.numel() * p.element_size() for m in self._modules(name) for p in m.parameters()) / 2**30

    def tower_gib(self, name: str) -> float:
        """Of one reward's tower."""
        return sum(p.numel() * p.element_size() for p in self._towers(name).parameters()) / 2**30

    def _modules(self, name: str) -> list[Any]:
        decoder = [] if name in LATENT_TOWERS else [self.vae.decoder]
        return [self.unet, *decoder, self._towers(name)]

    def _tower(self, name: str) -> tuple[Callable[[Tensor], Tensor], Reads]:
        tower = self._towers(name)
        if name in LATENT_TOWERS:
            return lambda latents: tower.encode_latents(latents, normalize=True), Reads.LATENTS
        return tower, Reads.PIXELS

    @cached_property
    def _towers(self) -> Callable[[str], Any]:
        @cache
        def made(name: str) -> Any:
            with made_on(self.device, torch.float32):  # rewards are read in full precision
                return self._made_tower(name).to(self.device).eval().requires_grad_(False)

        return made

    def _made_tower(self, name: str) -> Any:
        if name in LATENT_TOWERS:
            return latent_vit(self.vae, self.side, self.miniature, LATENT_TOWERS[name])
        return PixelCLIP(self.miniature, name.removeprefix(PIXEL))

    def _made(self, make: Any) -> Any:
        with made_on(self.device, self.dtype):
            return make(self.miniature).to(self.device, self.dtype).eval().requires_grad_(False)


@contextmanager
def _kept(modules: Sequence[Any]) -> Iterator[dict[int, int]]:
    """Bytes of the distinct tensors that autograd keeps, but for weights, which are there anyway."""
    weights = {p.untyped_storage()._cdata for module in modules for p in module.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # else another tensor may get the place of one that is gone

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept
