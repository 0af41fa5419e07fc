"""One thread a test process: pytest runs one on every core, and theirs would only wait for each other."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
