"""The page that a published Latent-CLIP shows on the hub."""

from __future__ import annotations

from dataclasses import dataclass

from latent_guard.latent_clip.config import LatentCLIPConfig


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about the training of a model, which its weights do not hold.

    Attributes:
        data: the images and texts that it was trained on.
        samples_seen: how many pairs training went through, repeats counted.
        limits: what it is not good for, and where it is known to fail.
    """

    data: str
    samples_seen: int
    limits: str


def model_card(
    hub_id: str, config: LatentCLIPConfig, fingerprint: str, facts: TrainingFacts, use: str | None = None
) -> str:
    """The card, in Markdown with the hub's metadata at its head; ``use`` shows how, by default from the hub."""
    from huggingface_hub import ModelCardData

    head = ModelCardData(
        library_name="latent-guard", pipeline_tag="zero-shot-image-classification", tags=["latent-clip", "clip"]
    ).to_yaml()
    space, vision, text = config.latent_space, config.vision, config.text
    side = config.pixels // space.factor
    noise = "and is told how noisy they were" if config.reads_noise_level else "clean ones only"
    return f"""---
{head}
---
# {hub_id.split("/")[-1]}

A Latent-CLIP: it embeds VAE latents and texts into one space, so that an image is read before it is decoded.

## Latent space

{space}. It reads raw latents of `{space.name}` ({space.channels} x {side} x {side} positions, which is
{config.pixels} pixels a side; other sizes by resized position embeddings), {noise}.{_adapted(config)}
Latents of another VAE give meaningless embeddings.

| pipeline latents from raw ones | |
|---|---|
| scaling factor | {space.scaling_factor:g} |
| shift factor | {space.shift_factor:g} |
| patches | {space.patch} x {space.patch} |
| mean and std by channel | {"yes, in `config.json`" if space.mean else "no"} |

## Model

| | image tower | text tower |
|---|---|---|
| width | {vision.width} | {text.width} |
| layers | {vision.layers} | {text.layers} |
| heads | {vision.heads} | {text.heads} |
| input | patches of {vision.patch_size} x {vision.patch_size} positions | {text.context_length} tokens |

Embeddings have {config.embed_dim} dimensions. Fingerprint of config and weights: `{fingerprint}`.

## Training

- Data: {facts.data}
- Samples seen: {facts.samples_seen:,}

## Limits

{facts.limits}

## Use

{use or _from_the_hub(hub_id)}
"""


def _from_the_hub(hub_id: str) -> str:
    return f"""```python
from latent_guard import LatentCLIP

model = LatentCLIP.from_pretrained("{hub_id}")
images = model.encode_latents(vae.encode(pixels).latent_dist.mode(), normalize=True)
texts = model.encode_text(["a photo of a cat", "a photo of a dog"], normalize=True)
print(images @ texts.T)
```"""


def _adapted(config: LatentCLIPConfig) -> str:
    if config.adapter is None:
        return ""
    kind = "convolutional" if config.adapter.width else "linear"
    return f" A {kind} adapter turns them into those that the image tower learned, of {config.tower_space}."
