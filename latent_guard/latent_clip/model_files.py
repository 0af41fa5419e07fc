"""A Latent-CLIP on disk: ``config.json``, ``model.safetensors``, ``tokenizer/``, and the manifest of these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.files.atomic import atomic_file, moved_into
from latent_guard.files.documents import read_json
from latent_guard.files.manifests import MANIFEST, files_of, verify, write_manifest
from latent_guard.files.plain import require_plain
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
    """Write all three and their manifest, each atomically; the config, which readers open, comes last."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # these would record whether a text was cut or padded before; ``tokenize`` asks for both
    backend.no_padding()
    with moved_into(folder / TOKENIZER) as beside:
        tokenizer.save_pretrained(beside)
    tensors = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
    with atomic_file(folder / WEIGHTS) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
    with atomic_file(folder / CONFIG) as partial:
        partial.write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")
        words = {f"{TOKENIZER}/{path.name}": path for path in files_of(folder / TOKENIZER)}
        write_manifest(folder, {**words, WEIGHTS: folder / WEIGHTS, CONFIG: partial})


def verify_if_manifest(folder: Path) -> bool:
    """Compare the files with their manifest, if there is one; False if there is none.

    Raises:
        CheckpointError: a file is missing, or not what the manifest says.
    """
    if not (folder / MANIFEST).exists():
        return False
    mend = "copy the checkpoint again, or remove the manifest if the change was meant"
    verify(folder, mend, wanted=is_model_file)  # a guard's folder holds more, which not everybody has fetched
    return True


def is_model_file(name: str) -> bool:
    """Whether a file of this name, relative to the folder, belongs to the model."""
    return name in (CONFIG, WEIGHTS) or name.startswith(f"{TOKENIZER}/")


def read_config(folder: Path) -> LatentCLIPConfig:
    """The model's config.

    Raises:
        CheckpointError: missing or not a Latent-CLIP's.
    """
    path = folder / CONFIG
    if not path.exists():
        raise CheckpointError(f"no Latent-CLIP in {folder}: cannot read {CONFIG}")
    try:
        return LatentCLIPConfig.from_dict(read_json(path, "the config"))
    except InputError as error:
        raise CheckpointError(f"{path} is not a Latent-CLIP config: {error}") from error


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
        raise CheckpointError(f"{path} is not a tokenizer: {reason_of(error)}") from error
    if (len(tokenizer), tokenizer.model_max_length) != (text.vocab_size, text.context_length):
        raise CheckpointError(
            f"{path} has {len(tokenizer)} tokens and a context of {tokenizer.model_max_length}; "
            f"{CONFIG} says {text.vocab_size} and {text.context_length}"
        )
    return tokenizer


def load_weights(folder: Path, model: nn.Module) -> None:
    """Give a model that was built on the device ``meta`` memory, and fill it with the stored weights.

    Raises:
        CheckpointError: missing, corrupt or truncated, not finite, or made for another config.
    """
    path = folder / WEIGHTS
    try:
        require_plain(path)
        _require_fit(path, model)
        weights = load_file(path)
        if broken := [name for name, weight in weights.items() if not weight.isfinite().all()]:
            raise CheckpointError(f"{path} is corrupt: {broken[0]} is not finite; copy the checkpoint again")
        model.to_empty(device="cpu").load_state_dict(weights)
    except OSError as error:
        raise CheckpointError(f"no weights in {folder}: cannot read {WEIGHTS}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is corrupt or truncated ({reason_of(error)}); copy it again") from error
    except RuntimeError as error:  # of a type of numbers that torch cannot compute with
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {reason_of(error)}") from error


def _require_fit(path: Path, model: nn.Module) -> None:
    """Compare names and shapes with the file's header; no tensor is read."""
    ours = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (no mapping)
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name):
            stored = theirs.get(name, "absent")
            expected = ours.get(name, "absent")
            raise CheckpointError(
                f"{path} does not fit its {CONFIG}: {name} is {stored} in the file and {expected} by the config"
            )
