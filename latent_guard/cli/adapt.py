"""``latent-guard adapt``: fit an adapter through which a Latent-CLIP reads the latents of another VAE."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latent_guard.bounds import MAX_IMAGES
from latent_guard.cli.places import OutFolder
from latent_guard.errors import InputError
from latent_guard.terminal import say, warn

if TYPE_CHECKING:
    from latent_guard.latent_clip.adapter_fit import AdapterFit
    from latent_guard.latent_clip.model import LatentCLIP
    from latent_guard.pipelines.canary import Canary
    from latent_guard.training.encoding.encoder import Encoder
    from latent_guard.training.encoding.pairs import LatentPairs

WIDTH, BATCH = 64, 16


class Kind(str, Enum):
    linear = "linear"
    conv = "conv"


def adapt(
    model: Annotated[str, typer.Argument(help="Latent-CLIP: folder or hub id.")],
    source: Annotated[str, typer.Argument(help="Images, from any source that `latent-guard encode` takes.")],
    out: Annotated[
        Path,
        typer.Argument(help="Folder for the adapted Latent-CLIP; it must be new or empty.", parser=OutFolder("OUT")),
    ],
    vae: Annotated[str, typer.Option(help="The VAE to be read, or a pipeline with it: folder or hub id.")],
    from_vae: Annotated[
        str | None, typer.Option(help="The VAE that the model was made for, likewise.  [default: the shipped one]")
    ] = None,
    kind: Annotated[Kind, typer.Option(help="Kind of the map from one VAE's latents to the other's.")] = Kind.conv,
    images: Annotated[
        int, typer.Option(min=1, max=MAX_IMAGES, help="Number of images to fit on, the first of the source.")
    ] = 4000,
) -> None:
    """Fit an adapter to images that both VAEs encode, and write a whole Latent-CLIP for the new VAE.

    It takes minutes. A concept bank belongs to one Latent-CLIP: build the new one's with `latent-guard concepts build`.
    """
    from latent_guard.cli.model_folder import canary_of, require_new_or_begun, write_model
    from latent_guard.latent_clip.model_files import CONFIG
    from latent_guard.loading import load_canary, load_latent_clip
    from latent_guard.training.encoding.pairs import encode_pairs
    from latent_guard.training.encoding.sources import Columns, open_source

    require_new_or_begun(out)
    if (out / CONFIG).exists():
        raise InputError(f"{out} already holds a Latent-CLIP; choose a new folder")
    clip = load_latent_clip(None, model, "MODEL")
    if clip.adapter is not None:
        raise InputError(f"{model} is adapted already; give the Latent-CLIP that it was made from")
    old, new = _encoder(clip, from_vae, "--from-vae"), _encoder(clip, vae, "--vae")
    _require_two_vaes(clip, load_canary(None, model), old, new)
    pairs = encode_pairs(open_source(source, columns=Columns(needs_caption=False)), new, old, images)
    fit = _fitted(pairs, new, clip, kind)
    adapted = clip.adapted(fit.adapter)
    write_model(adapted, canary_of(new.vae), out)
    _say(fit, pairs, adapted, out)


def _encoder(clip: LatentCLIP, vae: str | None, option: str) -> Encoder:
    from latent_guard.loading import load_vae
    from latent_guard.training.encoding.encoder import Encoder

    loaded = load_vae(vae, option)
    return Encoder(loaded, vae or "the shipped one", clip.tokenizer, clip.config.pixels, "float16", BATCH)


def _require_two_vaes(clip: LatentCLIP, canary: Canary | None, old: Encoder, new: Encoder) -> None:
    """Raise InputError unless ``old`` is the model's VAE, by the canary where there is one, and ``new`` is not."""
    from latent_guard.cli.model_folder import canary_of
    from latent_guard.errors import LatentSpaceMismatchError

    clip.require_space(old.latent_space, f"--from-vae ({old.name}) makes latents")
    own = canary or canary_of(old.vae)
    own.check(old.vae, old.vae.device)
    if len({(encoder.latent_space.channels, encoder.latent_space.factor) for encoder in (old, new)}) > 1:
        return
    try:
        own.check(new.vae, new.vae.device)
    except LatentSpaceMismatchError:
        return
    raise InputError(f"--vae {new.name} makes the latents that this Latent-CLIP reads already; it needs no adapter")


def _fitted(pairs: LatentPairs, new: Encoder, clip: LatentCLIP, kind: Kind) -> AdapterFit:
    from latent_guard.latent_clip.adapter import AdapterConfig
    from latent_guard.latent_clip.adapter_fit import fit_adapter

    width = WIDTH if kind is Kind.conv else 0
    config = AdapterConfig(new.latent_space, clip.config.latent_space, width)
    return fit_adapter(clip, config, pairs.first, pairs.second)


def _say(fit: AdapterFit, pairs: LatentPairs, adapted: LatentCLIP, out: Path) -> None:
    space = adapted.config.latent_space
    say(f"{out} now holds Latent-CLIP {adapted.fingerprint()}, which reads latents of {space}")
    say(
        f"fitted to {fit.fitted} images in {fit.seconds:.1f} s; on {fit.held_out} others {fit.explained:.1%} of the "
        f"variance explained, embeddings as before to a cosine of {fit.agreement:.3f}"
    )
    if pairs.unreadable:
        warn(f"{pairs.unreadable} images could not be read and are left out")
