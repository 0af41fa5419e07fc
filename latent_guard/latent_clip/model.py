"""Latent-CLIP: a CLIP whose image tower reads VAE latents, clean or estimated from noisy ones.

Shapes: B images or texts, C latent channels, H and W latent positions, L tokens, D the embedding dimension.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize as to_unit_length

from latent_guard.errors import InputError, LatentSpaceMismatchError
from latent_guard.latent_clip import hub, model_files
from latent_guard.latent_clip.adapter import LatentAdapter
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig
from latent_guard.latent_clip.latent_space import PUBLISHED, LatentSpace
from latent_guard.latent_clip.model_card import TrainingFacts, model_card
from latent_guard.latent_clip.official import read_official
from latent_guard.latent_clip.positions import resized_embedding, whole_patches
from latent_guard.latent_clip.tokenizer import tokenize, tokenizer_for
from latent_guard.latent_clip.towers import image_tower, text_tower

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # CLIP (Radford et al. 2021), section 2.5


class LatentCLIP(nn.Module):
    """Two towers and a temperature, after CLIP (Radford et al. 2021), built from open_clip's transformers.

    A pixel CLIP is this class with the latent space ``PIXELS``: its latents are pixels in [-1, 1].
    """

    def __init__(self, config: LatentCLIPConfig, tokenizer: CLIPTokenizer | None = None) -> None:
        """An untrained model; without ``tokenizer`` its vocabulary is CLIP's, cut to ``config.text.vocab_size``."""
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer if tokenizer is not None else _tokenizer_for(config.text)
        self.visual = image_tower(config)
        self.text = text_tower(config)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.adapter = LatentAdapter(config.adapter) if config.adapter is not None else None

    def encode_latents(
        self, latents: Tensor, noise_level: float | Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Embeddings (B, D) of RAW latents (B, C, H, W) of any size; differentiable.

        At another size than the one trained on, position embeddings are resized; where H or W is not a multiple of
        the patch size, the last row or column is repeated.

        Args:
            noise_level: sigma / (sigma + signal) of the state that the latents were estimated from, 0..1, a scalar
                or (B,); None means clean. A model that does not read it ignores it.
            normalize: scale each embedding to length one.

        Raises:
            InputError: the wrong number of channels, no positions, or a noise level per image for other images.
        """
        self._check_latents(latents)
        latents = latents.to(self.logit_scale.dtype)
        if self.adapter is not None:
            latents = self.adapter(latents)
        if self.config.reads_noise_level:
            latents = torch.cat([latents, _noise_channel(latents, noise_level)], dim=1)
        features = self._image_features(whole_patches(latents, self.config.vision.patch_size))
        return to_unit_length(features, dim=-1) if normalize else features

    def encode_text(self, texts: Sequence[str] | Tensor, normalize: bool = False) -> Tensor:
        """Embeddings (B, D) of texts, given as strings or as token ids (B, L), L up to the context length."""
        ids = texts if isinstance(texts, Tensor) else tokenize(self.tokenizer, texts)
        if ids.ndim != 2 or ids.shape[1] > self.config.text.context_length:
            raise InputError(
                f"token ids have shape {tuple(ids.shape)}; "
                f"expected (texts, at most {self.config.text.context_length} tokens)"
            )
        features: Tensor = self.text(ids.to(self.logit_scale.device))
        return to_unit_length(features, dim=-1) if normalize else features

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that name config and weights; the same before and after ``save_pretrained``.

        Weights count as rounded to float16, the precision that they are saved in.
        """
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for name, weight in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save_pretrained(self, folder: Path | str, dtype: torch.dtype = torch.float16) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``tokenizer/`` into ``folder``."""
        model_files.save(Path(folder), self.config, self.state_dict(), self.tokenizer, dtype)

    def push_to_hub(self, hub_id: str, facts: TrainingFacts, private: bool = False) -> str:
        """Publish the model with its card, at the precision that it has, as ``owner/name``; its address on the hub.

        Log in first, with ``hf auth login`` or a token in ``HF_TOKEN``.

        Raises:
            InputError: not a hub id, or the hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, dtype=self.logit_scale.dtype)
            card = model_card(hub_id, self.config, self.fingerprint(), facts)
            (Path(folder) / "README.md").write_text(card, encoding="utf-8")
            return hub.upload(Path(folder), hub_id, private)

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> LatentCLIP:
        """Read what ``save_pretrained`` wrote, ready for inference, from a folder or, by owner/name, from the hub.

        Raises:
            CheckpointError: a file is missing, corrupt, truncated or does not fit the others, or cannot be downloaded.
        """
        path = hub.local_folder(folder)
        model_files.verify_if_manifest(path)
        config = model_files.read_config(path)
        tokenizer = model_files.read_tokenizer(path, config.text)
        with torch.inference_mode(False):  # whose tensors no gradient goes through, wherever it is asked for later
            with torch.device("meta"):  # without memory: what the config asks for is first compared with the weights
                model = cls(config, tokenizer)
            model_files.load_weights(path, model)
            model.text.attn_mask = model.text.build_causal_mask()  # the one tensor that no file holds
            return model.to(device, dtype).eval()

    @classmethod
    def from_official(
        cls,
        checkpoint: Path | str,
        config: LatentCLIPConfig | Path | str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> LatentCLIP:
        """Read a checkpoint of Latent-CLIP's authors, ready for inference; nothing that it may hold is run.

        Args:
            checkpoint: ``epoch_34.pt``, its folder, or a hub id such as ``wendlerc/latent-clip-b-8-512-34b-80k``.
            config: a preset (``latent-vit-b-8``, ``latent-vit-b-4-plus``), the authors' JSON file, or the shape; None
                means that of the hub id, else ``config.json`` beside the checkpoint.

        Raises:
            CheckpointError: no such checkpoint, or it is corrupt, truncated, holds more than tensors and numbers, or
                is of another architecture than the config.
            InputError: no config, or it does not describe a Latent-CLIP.
        """
        official = read_official(checkpoint, config)
        tokenizer = _tokenizer_for(official.config.text)
        with torch.device("meta"):
            official.require_fit(cls(official.config, tokenizer).state_dict())
        model = cls(official.config, tokenizer)
        model.load_state_dict(official.weights)
        return model.to(device, dtype).eval()

    def adapted(self, adapter: LatentAdapter) -> LatentCLIP:
        """A copy of this model that reads the latents of another VAE, through ``adapter``.

        Raises:
            InputError: this model has an adapter already.
            LatentSpaceMismatchError: the adapter gives latents of another space than this model reads.
        """
        if self.adapter is not None:
            raise InputError("this Latent-CLIP is adapted already; adapt the one that it was made from")
        self.require_space(adapter.config.gives, "the adapter gives latents")
        config = replace(self.config, latent_space=adapter.config.reads, adapter=adapter.config)
        model = LatentCLIP(config, self.tokenizer)
        model.load_state_dict({**self.state_dict(), **adapter.state_dict(prefix="adapter.")})
        return model.to(self.logit_scale).train(self.training)

    def require_space(self, space: LatentSpace, what: str = "these are latents") -> None:
        """Raise LatentSpaceMismatchError, naming both, unless this model reads the latents of ``space``.

        Two spaces are one if their numbers agree, whatever they are called. ``what`` begins the message.
        """
        own = self.config.latent_space
        if replace(space, name=own.name) != own:
            raise LatentSpaceMismatchError(
                f"{what} of {space}, and this Latent-CLIP reads those of {own}; "
                "encode the images with that VAE, or use a Latent-CLIP made for these latents (`latent-guard adapt`)"
            )

    def _image_features(self, latents: Tensor) -> Tensor:
        vision = self.config.vision
        grid = latents.shape[2] // vision.patch_size, latents.shape[3] // vision.patch_size
        if latents.shape[2:] == (vision.size, vision.size):
            features: Tensor = self.visual(latents)
        else:
            positions = {"positional_embedding": resized_embedding(self.visual.positional_embedding, grid)}
            features = functional_call(self.visual, positions, (latents,))
        return features

    def _check_latents(self, latents: Tensor) -> None:
        space = self.config.latent_space
        if latents.ndim != 4 or 0 in latents.shape[2:]:
            raise InputError(f"latents have shape {tuple(latents.shape)}; expected (images, channels, height, width)")
        if (found := latents.shape[1]) != space.channels:
            like = " or ".join(name for name, other in PUBLISHED.items() if other.channels == found)
            raise InputError(
                f"latents have {found} channels{f', as {like} has' if like else ''}; this model reads {space}"
            )


def _tokenizer_for(text: TextConfig) -> CLIPTokenizer:
    return tokenizer_for(text.vocab_size, text.context_length)


def _noise_channel(latents: Tensor, noise_level: float | Tensor | None) -> Tensor:
    level = torch.as_tensor(0.0 if noise_level is None else noise_level).to(latents)
    if level.numel() not in (1, len(latents)):
        raise InputError(f"noise_level has {level.numel()} values for {len(latents)} latents; give one, or one each")
    return level.reshape(-1, 1, 1, 1).expand(len(latents), 1, *latents.shape[2:])
