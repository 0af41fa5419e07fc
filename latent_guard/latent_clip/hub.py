"""Models on the Hugging Face hub: fetching and publishing them. What they hold is read as data, and never run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from latent_guard.errors import CheckpointError, InputError
from latent_guard.hub_access import obstacle
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
            f"{hub_id} is no folder here, and its {file} cannot be downloaded: {obstacle(error, hub_id)}"
        ) from error


def download_files(hub_id: str, files: Sequence[str], revision: str | None = None) -> Path:
    """The folder of a repository's files of these patterns; there may be none.

    Raises:
        CheckpointError: they cannot be had.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(files), revision=revision))
    except Exception as error:  # as above
        raise CheckpointError(
            f"{hub_id} is no folder here, and cannot be downloaded: {obstacle(error, hub_id)}"
        ) from error


def local_folder(source: Path | str, files: Sequence[str] = LATENT_CLIP_FILES, revision: str | None = None) -> Path:
    """A model's folder: ``source`` itself, or, of what the hub has under that id, the ``files`` of these patterns.

    Raises:
        CheckpointError: it is no folder, and no hub id or one that cannot be downloaded, or of something else.
    """
    if Path(source).exists():
        return Path(source)
    if not is_hub_id(source):
        raise CheckpointError(f"no Latent-CLIP in {source}: it is neither a folder nor a hub id of the form owner/name")
    folder = download_files(str(source), files, revision)
    if not (folder / files[0]).is_file():
        raise CheckpointError(
            f"{source} on the hub holds no {files[0]}, so it is no Latent-CLIP; a checkpoint as its authors published "
            "it is converted with `latent-guard convert`"
        )
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
        raise InputError(f"cannot publish {hub_id}: {obstacle(error, hub_id)}") from error
    return str(address)
