"""Latent-CLIPs on the Hugging Face hub: fetching and publishing them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from latent_guard.errors import CheckpointError, InputError, reason_of
from latent_guard.hub_ids import is_hub_id

LATENT_CLIP_FILES = ("config.json", "model.safetensors", "tokenizer/*", "manifest.json")
_LOGGER = logging.getLogger(__name__)


def download_file(hub_id: str, file: str) -> Path:
    """One file of a repository, from the hub's cache where it is there already.

    Raises:
        CheckpointError: it cannot be had.
    """
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, file))
    except Exception as error:  # the hub client raises OSError, ValueError and errors of its HTTP library alike
        raise CheckpointError(
            f"cannot download {file} of {hub_id}; check the id and the connection ({reason_of(error)})"
        ) from error


def local_folder(source: Path | str, files: Sequence[str] = LATENT_CLIP_FILES, revision: str | None = None) -> Path:
    """A model's folder: ``source`` itself, or, of what the hub has under that id, the ``files`` of these patterns.

    Raises:
        CheckpointError: it is no folder, and no hub id or one that cannot be downloaded.
    """
    if Path(source).exists():
        return Path(source)
    if not is_hub_id(source):
        raise CheckpointError(f"no Latent-CLIP in {source}: it is neither a folder nor a hub id of the form owner/name")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(str(source), allow_patterns=list(files), revision=revision))
    except Exception as error:  # as above
        raise CheckpointError(
            f"{source} is no folder, and no model of that id can be downloaded; check the path, or the id and the "
            f"connection ({reason_of(error)})"
        ) from error
    # A folder that is missing here looks like a hub id: whose files are used instead is said.
    _LOGGER.warning("%s is no folder here; its files are the hub's, revision %s", source, folder.name)
    return folder


def upload(folder: Path, hub_id: str, private: bool, what: str = "A Latent-CLIP") -> str:
    """Put the files of ``folder`` into a repository, made if there is none; its address. The commit says ``what``.

    Raises:
        InputError: not a hub id, or the hub refuses.
    """
    from huggingface_hub import HfApi

    if not is_hub_id(hub_id):
        raise InputError(f"{hub_id} is not a hub id of the form owner/name")
    api = HfApi()
    try:
        address = api.create_repo(hub_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=hub_id, folder_path=folder, commit_message=what)
    except Exception as error:  # as above
        raise InputError(
            f"cannot publish {hub_id}: check the id, the connection and that you are logged in ({reason_of(error)})"
        ) from error
    return str(address)
