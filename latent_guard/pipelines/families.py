"""What is known of a pipeline class: one row of data, which says how its ``scheduler.step`` carries latents.

Rows are in ``family_table``. Shapes: B images or videos, C latent channels of the VAE, T latent frames, H and W raw
latent positions, p positions along one side of what one position of ``step`` holds, N tokens, D = C p p.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from latent_guard.errors import InputError, UnsupportedPipelineError
from latent_guard.latent_clip.latent_space import LatentSpace

# (B, D, H/p, W/p); tokens (B, N, D), or (N, D) of the only one; and what models of videos carry, with D at one of three
# places
Axes = Literal["bchw", "bnd", "nd", "bcthw", "btchw", "bthwc"]
Norm = Literal["scaling", "shift", "channels"]
DENOISERS = ("unet", "transformer")


@dataclass(frozen=True)
class Family:
    """How a pipeline class carries its latents through ``scheduler.step``, and what it decodes.

    Attributes:
        axes: of what ``step`` is given.
        patch: p.
        channels_last: whether the numbers of a patch are those of an array (p, p, C), in what ``step`` carries and in
            the VAE's statistics of them; all others' are of an array (C, p, p).
        norm: which of the VAE's numbers its latents are normalised by. A pipeline applies what its code names, whatever
            else stands in the VAE's config.
        epsilon: added to the variances of a BatchNorm, where the pipeline has its own.
        decoded: which of the things that the last ``step`` returns is decoded: 0, 1, or "1 if one step".
        reads: channels that the denoiser may read, each as a multiple of D (a part of it, of one that cuts patches
            itself) and a number on top. One that reads other than the first is given what a ``blend`` would put back,
            and nothing is.
        reads_from: the entry of the denoiser's config that says how many it reads.
        blend: where the original picture's latents stand in what ``prepare_latents`` returns, for a pipeline that puts
            them back outside of a mask after each step; None: it puts nothing back.
        returns: what ``output_type="latent"`` hands out: what ``step`` carries, normalised latents (B, C, H, W), raw
            ones, or tokens of latents that ``step`` carries otherwise.
        times: the entry of the scheduler's config by which what ``step`` carries is multiplied; "" where it is not.
        references: whether ``image=[...]`` are pictures that every prompt refers to, not one a prompt.
        video: whether it makes videos, of T frames; without it T is 1.
        sized_by: the method that is told the pictures' ``height`` and ``width``, which tokens do not tell.
        sections: whether a video is made section by section, each in a loop of its own, and decoded in between.
        sound: whether the pipeline has a copy of its scheduler step something else than pictures.
    """

    axes: Axes = "bchw"
    patch: int = 1
    channels_last: bool = False
    norm: tuple[Norm, ...] = ("scaling",)
    epsilon: float | None = None
    decoded: Literal[0, 1, "1 if one step"] = 0
    reads: tuple[tuple[float, int], ...] = ((1, 0),)
    reads_from: str = "in_channels"
    blend: int | None = None
    returns: Literal["carried", "normalised", "raw", "tokens"] = "carried"
    times: str = ""
    references: bool = False
    video: bool = False
    sized_by: str = "prepare_latents"
    sections: bool = False
    sound: bool = False

    @property
    def has_tokens(self) -> bool:
        """True if tokens have to be put in their places, for which the size of the pictures must be known."""
        return self.axes in ("bnd", "nd") or self.returns == "tokens"

    def space_of(self, vae: Any) -> LatentSpace:
        """The space of this family's pipeline latents under a VAE: the VAE's numbers that the pipeline applies.

        Raises:
            UnsupportedPipelineError: an unknown class of VAE.
        """
        return self.applied(LatentSpace.of_vae(vae, epsilon=self.epsilon))

    def applied(self, space: LatentSpace) -> LatentSpace:
        """A space with those of its numbers that the pipeline applies."""
        if "scaling" not in self.norm:
            space = replace(space, scaling_factor=1.0)
        if "shift" not in self.norm:
            space = replace(space, shift_factor=0.0)
        if "channels" not in self.norm:
            return replace(space, patch=1, mean=(), std=())
        if self.channels_last:
            by_channel = [slice(channel, None, space.channels) for channel in range(space.channels)]
            mean, std = ([n for own in by_channel for n in numbers[own]] for numbers in (space.mean, space.std))
            return replace(space, mean=mean, std=std)
        return space

    def in_words(self, space: LatentSpace) -> str:
        """What ``step`` carries, for people."""
        carried = space.channels * self.patch**2
        names = {"c": str(carried), "d": str(carried), "t": "T" if self.video else "1"}
        shape = ", ".join(names.get(axis, axis.upper()) for axis in self.axes)
        numbers = " and ".join(self.norm)
        put_back = ", an original put back outside of a mask" if self.blend is not None else ""
        tokens = "tokens " if self.axes in ("bnd", "nd") else ""
        return f"{tokens}({shape}), normalised by the VAE's {numbers}{put_back}"

    def require_readable(self, pipe: Any, space: LatentSpace) -> None:
        """Raise ``UnsupportedPipelineError`` for a denoiser that reads more than latents, or others."""
        reads = denoiser_of(pipe).config[self.reads_from]
        carried = space.channels * self.patch**2
        expected = [int(times * carried) + more for times, more in self.reads]
        if reads not in expected:
            raise UnsupportedPipelineError(
                f"the denoiser of this {type(pipe).__name__} reads {reads} channels, not "
                f"{' or '.join(map(str, expected))}, for latents of {space.channels}: a denoiser made for other "
                "conditions is not supported"
            )


def denoiser_of(pipe: Any) -> Any:
    """A pipeline's UNet or transformer; raises InputError where it has neither."""
    for name in DENOISERS:
        if (found := getattr(pipe, name, None)) is not None:
            return found
    raise InputError(f"{type(pipe).__name__} has no denoiser called unet or transformer; use a pipeline that has one")
