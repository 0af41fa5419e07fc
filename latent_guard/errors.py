"""Every exception that Latent Guard raises on purpose.

LatentGuardError                      the root: catch it to catch everything below
├── InputError                        a bad argument, prompt, file, recipe, policy or bank
├── CheckpointError                   missing, corrupt, truncated or altered weights
├── UnsupportedPipelineError          an unknown scheduler, prediction type or latent layout
│   └── LatentSpaceMismatchError      the pipeline's latents come from another VAE
├── GuardError                        the guard itself failed in mid-generation (it fails closed)
├── BlockedError                      attach(on_block="raise"): images were withheld
└── DeviceMemoryError                 the device ran out of memory in an optimisation of noise

``str(error)`` is one line that says what is wrong and how to mend it. The command line prints that line and exits
with code 2 (3 for BlockedError), without a traceback.
"""

from __future__ import annotations


class LatentGuardError(Exception):
    """Root of the tree."""


class InputError(LatentGuardError):
    """An argument, prompt, file, recipe, policy or bank cannot be used as given."""


class CheckpointError(LatentGuardError):
    """Weights are missing, corrupt, truncated or not the ones their manifest names."""


class UnsupportedPipelineError(LatentGuardError):
    """The guard does not know this pipeline's scheduler, prediction type or latent layout."""


class LatentSpaceMismatchError(UnsupportedPipelineError):
    """The pipeline's latents come from a VAE that this Latent-CLIP was not trained on."""


class GuardError(LatentGuardError):
    """The guard failed in mid-generation; the generation stops rather than go on unguarded."""


class BlockedError(LatentGuardError):
    """Images were withheld, and the caller asked for an exception rather than a neutral latent."""


class DeviceMemoryError(LatentGuardError):
    """The device ran out of memory; the message says what needs less of it."""
