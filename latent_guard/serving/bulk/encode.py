"""``encode`` on Ray: shares of a data set, each written by the worker that encodes it.

Latents do not pass through one process, which would be the narrowest place of all. Plan, end and index are written by
the process that asked for the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from latent_guard.serving.bulk.cluster import capacity
from latent_guard.serving.bulk.pool import results_of
from latent_guard.sharding import Worker
from latent_guard.terminal import track

if TYPE_CHECKING:
    from latent_guard.errors import InputError
    from latent_guard.training.encoding.encoder import Encoder
    from latent_guard.training.encoding.plan import Encoded, Plan
    from latent_guard.training.encoding.sources import Columns, ImageSource


@dataclass(frozen=True)
class EncodeJob:
    """A source by name, which each machine opens with its own access to it; the encoder and the plan as they are."""

    source: str
    split: str
    columns: Columns
    encoder: Encoder
    plan: Plan

    def open(self) -> Callable[[Worker], list[InputError]]:
        """What encodes a share gives the errors of parts that cannot be read to their end."""
        from latent_guard.devices import best_device
        from latent_guard.training.encoding.encode import encode_share
        from latent_guard.training.encoding.sources import open_source

        images = open_source(self.source, self.split, self.columns)
        encoder = replace(self.encoder, vae=self.encoder.vae.to(best_device()))
        return partial(encode_share, images, self.plan, encoder, show_progress=False)


def encode_on_ray(
    images: ImageSource,
    split: str,
    columns: Columns,
    out: Path,
    encoder: Encoder,
    rows_per_shard: int,
    command: str = "",
) -> Encoded:
    """Encode a source into ``out``, which all machines of the connected cluster must see; raises as ``encode``.

    A share is a part of the source, or less where there are fewer parts than workers.
    """
    import torch

    from latent_guard.training.encoding.encode import begun

    with begun(images, out, encoder, rows_per_shard, command) as plan:
        plan.discard_damaged(Worker(0, 1))
        job = EncodeJob(images.name, split, columns, replace(encoder, vae=encoder.vae.to("cpu")), plan)
        count = max(images.parts, capacity(torch.get_num_threads()).workers)
        shares = [Worker(index, count) for index in range(count)]
        broken = [error for errors in track(results_of(job, shares), "encoding", count) for error in errors]
        encoded = plan.finish()
    if broken:
        raise broken[0]
    return encoded
