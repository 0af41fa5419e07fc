"""How far a picture is from the unguarded one of the same prompt and seed."""

from __future__ import annotations

import numpy as np

from latent_guard.bench.arrays import Floats, Pictures

SIGMA, RADIUS = 1.5, 5  # the 11 x 11 Gaussian window of the paper
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def distances(pictures: Pictures, others: Pictures) -> Floats:
    """(N,): 1 - SSIM of pictures (N, 3, H, W), row by row; 0 for equal ones (the most of a good method), at most 2."""
    if pictures.shape != others.shape:
        raise ValueError(f"pictures {pictures.shape} and {others.shape} are not pairs")
    apart = np.zeros(len(pictures))
    for row in np.flatnonzero((pictures != others).any(axis=(1, 2, 3))):
        apart[row] = 1.0 - ssim(pictures[row], others[row])
    return apart


def ssim(picture: Pictures, other: Pictures) -> float:
    """Structural similarity of two pictures (3, H, W), each side over 10; mean over channels and places.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), equation 13, with
    their constants and window; places whose window would leave the picture do not count.
    """
    x, y = picture.astype(np.float64), other.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return float((luminance * structure).mean())


def _windowed(values: Floats) -> Floats:
    """Gaussian means of (3, H, W) at the places that have a whole window, (3, H - 10, W - 10)."""
    from scipy.ndimage import gaussian_filter

    means: Floats = gaussian_filter(values, sigma=(0, SIGMA, SIGMA), truncate=RADIUS / SIGMA)
    return means[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
