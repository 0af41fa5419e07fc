"""diffusers' warnings, kept from being said once a batch where they say nothing that matters here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """The block in which diffusers logs errors only."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
