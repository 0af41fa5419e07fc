"""How several processes, on any number of machines, share one piece of work: ``--shard 1/4``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from latent_guard.errors import InputError


@dataclass(frozen=True)
class Worker:
    """One of ``count`` processes that share the work."""

    index: int
    count: int

    @classmethod
    def of(cls, shard: str, process: int, processes: int) -> Worker:
        """Process ``process`` (from 0) of the machine that ``shard`` names: "1/4" to "4/4".

        Raises:
            InputError: ``shard`` is not of that form.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"--shard {shard} is not i/n with i from 1 to n, and n below a million, for example 1/4")
        return cls((int(match[1]) - 1) * processes + process, int(match[2]) * processes)
