"""``python -m tests.faults`` runs every cell and writes what they say into ``docs/faults.md``."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from latent_guard.files.atomic import write_atomic
from tests.faults.matrix import CELLS, cell
from tests.faults.page import PAGE, page_of

if __name__ == "__main__":
    logging.disable()  # of what fails, diffusers says a page each time
    said = {}
    for fault, way in CELLS:
        with TemporaryDirectory() as work:
            said[fault.name, way.name] = cell(fault, way, Path(work))
    write_atomic(PAGE, page_of(said).encode())
