"""CLIP score: how well pictures fit their prompts."""

from __future__ import annotations

import numpy as np

from latent_guard.bench.metrics.clip_features import Floats


def clip_scores(pictures: Floats, prompts: Floats) -> Floats:
    """(N,): 100 max(cos, 0) of unit features, both (N, D), row by row.

    CLIPScore (Hessel et al. 2021, equation 1) with the factor 100 that tables of text-to-image models use, not 2.5.
    """
    cosines: Floats = np.einsum("nd,nd->n", pictures, prompts)
    return 100.0 * np.maximum(cosines, 0.0)
