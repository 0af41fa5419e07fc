"""A tiny modular pipeline of one class with random weights, and the arguments of a call that makes a batch of three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import diffusers
import torch

from tests.pipelines.families.tiny import Tiny, generators


@dataclass(frozen=True)
class TinyModular(Tiny):
    """How to make and call a modular pipeline that is given its prompts as embeddings.

    Attributes:
        parts: makes its components by name; those that its blocks do not take are left out.
        output: what the state calls its pictures.
        without: the blocks of its class that are taken out.
        latent: whether its pictures are latents for ``output_type="latent"``. Other classes refuse it, or hand out
            pixels; a call asks them for what the state calls latents.
    """

    output: str = "images"
    without: tuple[str, ...] = ("text_encoder",)
    latent: bool = True

    def pipeline(self) -> Any:
        """The pipeline; torch's global generator is seeded with 0 to make it."""
        torch.manual_seed(0)
        blocks = getattr(diffusers, self.kind.default_blocks_name)()
        for name in self.without:
            blocks.sub_blocks.pop(name)
        for loop in _loops(blocks):
            loop.set_progress_bar_config(disable=True)
        pipe = self.kind(blocks)
        parts = self.parts()
        pipe.update_components(**{name: part for name, part in parts.items() if name in pipe.component_names})
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipe

    def call(self, pipe: Any, **changes: Any) -> Any:
        """The images of the call, as arrays unless asked otherwise."""
        own = {"num_inference_steps": self.steps, "generator": generators(1, 2, 3), "output_type": "np"}
        taken = {name: value for name, value in own.items() if name in pipe._blocks.input_names}
        arguments = {**taken, **self.arguments, **changes}
        output = self.output
        if arguments["output_type"] == "latent" and not self.latent:
            arguments["output_type"], output = "pil", "latents"
        torch.manual_seed(0)  # some draw the latents of a picture from the global generator
        with ExitStack() as stack:
            if self.edits is not None:
                module, size = self.edits
                stack.enter_context(patch.object(module, "calculate_dimensions", return_value=size))
            return pipe(**{"output": output, **arguments})


def wide(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments for pictures twice as wide as high, so that rows of tokens are not columns."""
    return {**arguments, "width": 2 * arguments["height"]}


def without_negative(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments for a distilled class, which takes no negative prompts."""
    return {name: value for name, value in arguments.items() if not name.startswith("negative_")}


def _loops(block: Any) -> Iterator[Any]:
    """The blocks below one that show their progress; a pipeline reaches only those right below its own block."""
    for part in block.sub_blocks.values():
        if hasattr(part, "set_progress_bar_config"):
            yield part
        yield from _loops(part)
