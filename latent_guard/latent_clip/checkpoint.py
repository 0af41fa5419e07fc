"""A Latent-CLIP on disk: ``config.json``, ``model.safetensors``, ``tokenizer/``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latent_guard.errors import CheckpointError, InputError
from latent_guard.latent_clip.config import LatentCLIPConfig, TextConfig

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer"


def save(
    folder: Path,
    config: LatentCLIPConfig,
    weights: Mapping[str, Tensor],
    tokenizer: CLIPTokenizer,
    dtype: torch.dtype,
) -> None:
    """Write all three, each file whole or not at all; the config, which a reader opens first, comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # whether it has cut or padded a text before is no part of it; ``tokenize`` asks for both
    backend.no_padding()
    tokenizer.save_pretrained(folder / TOKENIZER)
    tensors = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
    partial = folder / (WEIGHTS + ".part")
    save_file(tensors, partial, metadata={"format": "pt"})
    os.replace(partial, folder / WEIGHTS)
    partial = folder / (CONFIG + ".part")
    partial.write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / CONFIG)


def read_config(folder: Path) -> LatentCLIPConfig:
    """The model's config.

    Raises:
        CheckpointError: missing or not a Latent-CLIP's.
    """
    path = folder / CONFIG
    try:
        return LatentCLIPConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CheckpointError(f"no Latent-CLIP in {folder}: cannot read {CONFIG}") from error
    except (InputError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a Latent-CLIP config: {_one_line(error)}") from error


def read_tokenizer(folder: Path, text: TextConfig) -> CLIPTokenizer:
    """The tokenizer that goes with the weights.

    Raises:
        CheckpointError: missing, corrupt, or of another vocabulary or context length than the config's.
    """
    from transformers import CLIPTokenizer

    path = folder / TOKENIZER
    if not (path / "tokenizer.json").is_file():  # else transformers would look for a repository of that name
        raise CheckpointError(f"{path} holds no tokenizer.json; copy the checkpoint again")
    try:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception for a corrupt file
        raise CheckpointError(f"{path} is not a tokenizer: {_one_line(error)}") from error
    if (len(tokenizer), tokenizer.model_max_length) != (text.vocab_size, text.context_length):
        raise CheckpointError(
            f"{path} has {len(tokenizer)} tokens and a context of {tokenizer.model_max_length}; "
            f"{CONFIG} says {text.vocab_size} and {text.context_length}"
        )
    return tokenizer


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fill ``model`` with the stored weights.

    Raises:
        CheckpointError: missing, corrupt or truncated, not finite, or made for another config.
    """
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
        if broken := [name for name, weight in weights.items() if not weight.isfinite().all()]:
            raise CheckpointError(f"{path} is corrupt: {broken[0]} is not finite; copy the checkpoint again")
        model.load_state_dict(weights)
    except OSError as error:
        raise CheckpointError(f"no weights in {folder}: cannot read {WEIGHTS}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is corrupt or truncated ({_one_line(error)}); copy it again") from error
    except RuntimeError as error:  # from load_state_dict, over many lines
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
