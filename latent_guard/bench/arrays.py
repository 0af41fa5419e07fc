"""Names for the arrays that the rooms of the benchmark hand to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]  # (N, 3, H, W)
