"""The two towers of a Latent-CLIP, built from open_clip's transformers."""

from __future__ import annotations

from open_clip.transformer import QuickGELU, TextTransformer, VisionTransformer
from torch import Tensor, nn

from latent_guard.latent_clip.config import LatentCLIPConfig

MLP_RATIO = 4.0


class _TextTower(TextTransformer):  # type: ignore[misc]
    """open_clip's text tower, for any length up to the context: short captions then cost less."""

    def _embeds(self, text: Tensor) -> tuple[Tensor, Tensor]:
        embedded, mask = super()._embeds(text)
        length = text.shape[1]
        return embedded, mask[:length, :length]


def image_tower(config: LatentCLIPConfig) -> VisionTransformer:
    """An untrained vision transformer over the channels of latents and, where the model reads it, the noise level."""
    vision = config.vision
    tower = VisionTransformer(
        image_size=vision.size,
        patch_size=vision.patch_size,
        width=vision.width,
        layers=vision.layers,
        heads=vision.heads,
        mlp_ratio=MLP_RATIO,
        output_dim=config.embed_dim,
        act_layer=_activation(config),
    )
    channels = vision.channels + int(config.reads_noise_level)  # open_clip's own layer takes three
    tower.conv1 = nn.Conv2d(channels, vision.width, vision.patch_size, vision.patch_size, bias=False)
    return tower


def text_tower(config: LatentCLIPConfig) -> TextTransformer:
    """An untrained causal transformer over token ids."""
    text = config.text
    return _TextTower(
        context_length=text.context_length,
        vocab_size=text.vocab_size,
        width=text.width,
        layers=text.layers,
        heads=text.heads,
        mlp_ratio=MLP_RATIO,
        output_dim=config.embed_dim,
        act_layer=_activation(config),
        pool_type="argmax",  # the end token has the highest id
    )


def _activation(config: LatentCLIPConfig) -> type[nn.Module]:
    return QuickGELU if config.quick_gelu else nn.GELU
