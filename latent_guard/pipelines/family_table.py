"""The pipeline classes of diffusers that the guard knows, each with its row; tests compare every row with its decoder.

A row says what a class's own code does; a class that is not here is refused by name.
"""

from __future__ import annotations

from typing import Any

from latent_guard.errors import UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace
from latent_guard.pipelines.families import Family
from latent_guard.pipelines.modular import is_modular
from latent_guard.pipelines.picture_families import PICTURES
from latent_guard.pipelines.video_families import VIDEOS

KNOWN: dict[str, Family] = {**PICTURES, **VIDEOS}


def family_of(pipe: Any) -> Family:
    """The row of a pipeline's class.

    Raises:
        UnsupportedPipelineError: the class is not known, by its name.
    """
    name = type(pipe).__name__
    if name in KNOWN and type(pipe).__module__.startswith("diffusers."):
        return KNOWN[name]
    raise UnsupportedPipelineError(
        f"the guard does not know the steps of {name}, only those of {len(KNOWN)} of diffusers' own classes "
        '(docs/pipelines.md); what any pipeline decodes is judged with guard.attach(pipe, gate="decode")'
    )


def require_generates_pictures(pipe: Any) -> None:
    """Raise ``UnsupportedPipelineError`` for a pipeline whose calls are guarded, but not made by the guard itself."""
    if is_modular(pipe) or ((family := KNOWN.get(type(pipe).__name__)) is not None and family.video):
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} is called in a way of its own, so that only your own code can make its calls: "
            'with guard.attach(pipe, policy="block") as watch: pipe(...)'
        )


def space_of_pipeline(pipe: Any) -> LatentSpace:
    """The space of a pipeline's latents: by its row, or of a class that has none, all that its VAE's config says."""
    family = KNOWN.get(type(pipe).__name__)
    return LatentSpace.of_vae(pipe.vae) if family is None else family.space_of(pipe.vae)
