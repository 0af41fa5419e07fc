"""Every exception that Latent Guard raises on purpose.

    LatentGuardError                      the root: catch it to catch everything below
    ├── InputError                        a bad argument, prompt, file, recipe, policy or bank
    ├── CheckpointError                   missing, corrupt, truncated or altered weights
    ├── UnsupportedPipelineError          an unknown scheduler, prediction type or latent layout
    │   └── LatentSpaceMismatchError      the pipeline's latents come from another VAE
    ├── GuardError                        the guard failed, or could not write its verdict down (it fails closed)
    │   └── FittedForOtherError           the guard was fitted for another pipeline, schedule or guidance
    ├── BlockedError                      attach(on_block="raise"): images were withheld
    └── DeviceMemoryError                 the device ran out of memory in an optimisation of noise

``str(error)`` is one line that says what is wrong and how to mend it, whatever foreign text went into it: controls are
escaped, and a long value is cut in its middle. The command line prints that line and exits with code 2 (3 for
BlockedError), without a traceback.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 800  # of a message: a screen of it, whatever value it quotes
MAX_REASON = 200  # characters of what another library says
# Controls (a terminal obeys them), lone surrogates (no stream takes them), and what turns a line's direction around.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    """A value as text that changes nothing but the place where it is printed: controls and the like are escaped."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object, most: int = MAX_CHARACTERS) -> str:
    """A foreign text, or what another library's error says, as one printable line of at most ``most`` characters."""
    line = printable(" ".join(str(text).split())) or type(text).__name__
    if len(line) <= most:
        return line
    half = (most - len(_CUT)) // 2
    return f"{line[:half]}{_CUT}{line[-half:]}"


def reason_of(error: BaseException) -> str:
    """What another library's error says, short enough to stand in brackets within one of our own messages."""
    return one_line(error, MAX_REASON).rstrip(" :.")


_CUT = " [...] "


class LatentGuardError(Exception):
    """Root of the tree."""

    def __str__(self) -> str:
        return one_line(super().__str__()) if self.args else ""


class InputError(LatentGuardError):
    """An argument, prompt, file, recipe, policy or bank cannot be used as given."""


class CheckpointError(LatentGuardError):
    """Weights are missing, corrupt, truncated or not the ones their manifest names."""


class UnsupportedPipelineError(LatentGuardError):
    """The guard does not know this pipeline's scheduler, prediction type or latent layout."""


class LatentSpaceMismatchError(UnsupportedPipelineError):
    """The pipeline's latents come from a VAE that this Latent-CLIP was not trained on."""


class GuardError(LatentGuardError):
    """The guard failed in mid-generation, or its verdicts cannot be written down; no image is handed out."""


class FittedForOtherError(GuardError):
    """What the guard was fitted for is something else, and its policy refuses to run elsewhere."""


class BlockedError(LatentGuardError):
    """Images were withheld, and the caller asked for an exception rather than a neutral latent."""


class DeviceMemoryError(LatentGuardError):
    """The device ran out of memory; the message says what needs less of it."""
