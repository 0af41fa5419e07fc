"""What keeps the Hugging Face hub from giving or taking something, and how to mend it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from latent_guard.errors import reason_of

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# The hub's client speaks through requests or through one of the others, by its version; no base class is common to all.
_HTTP_LIBRARIES = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "aiohttp")
_BROKEN_OFF = ("RemoteProtocolError", "ReadError", "ReadTimeout", "IncompleteRead", "ProtocolError", "ChunkedEncoding")


def obstacle(error: BaseException, hub_id: str, kind: str = "") -> str:
    """Say in one clause what an error of the hub's client comes from, and in another what to do.

    Args:
        error: as it was caught; what it was raised from is looked at as well, since libraries wrap it.
        hub_id: owner/name.
        kind: ``datasets`` for a data set.
    """
    from huggingface_hub import constants

    if _is_offline(constants):
        return _offline(hub_id, str(constants.HF_HUB_CACHE))
    page = "/".join(part for part in (constants.ENDPOINT, kind, hub_id) if part)
    for cause in _causes(error):
        if found := _of_answer(cause, hub_id, page) or _of_connection(cause, hub_id, constants.ENDPOINT):
            return found
    return f"check the id and the connection ({reason_of(error)})"


def _is_offline(constants: object) -> bool:
    return bool(getattr(constants, "HF_HUB_OFFLINE", False)) or os.environ.get("HF_DATASETS_OFFLINE") == "1"


def _offline(hub_id: str, cache: str) -> str:
    variable = next((name for name in _OFFLINE if os.environ.get(name)), _OFFLINE[0])
    return (
        f"{variable} forbids downloads, and {hub_id} is not whole in the cache {cache}; unset {variable}, or download "
        "it once while connected"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _of_answer(error: BaseException, hub_id: str, page: str) -> str | None:
    """What the hub answered."""
    from huggingface_hub import errors

    gated = f"{hub_id} is gated: accept its terms at {page}, then {_LOG_IN}"
    absent = f"the hub has no {hub_id}, or hides it; check the spelling, and if it is private, {_LOG_IN}"
    if type(error).__name__ == "DatasetNotFoundError":  # of ``datasets``, which drops what it comes from
        return gated if "gated" in str(error) else absent
    match error:
        case errors.GatedRepoError():
            return gated
        case errors.RepositoryNotFoundError():
            return absent
        case errors.RevisionNotFoundError():
            return f"{hub_id} has no such revision; take a branch, tag or commit of {page}"
        case errors.EntryNotFoundError() if not isinstance(error, errors.LocalEntryNotFoundError):
            return f"{hub_id} has no such file; take a repository of the kind that is asked for"
        case errors.HfHubHTTPError():
            return _of_status(error.response.status_code, hub_id, error)
        case errors.HFValidationError():
            return f"the hub knows no ids like {hub_id}; check the spelling"
    return None


def _of_status(status: int, hub_id: str, error: BaseException) -> str:
    if status == 401:
        return f"the hub does not know you, or your token; {_LOG_IN}"
    if status == 403:
        return f"your token may not do this with {hub_id}; take one with that permission, or another owner"
    if status == 429:
        return "the hub has had too many requests from here; wait, or log in"
    if status >= 500:
        return f"the hub is out of order (status {status}); try again later"
    return f"the hub refuses ({reason_of(error)})"


def _of_connection(error: BaseException, hub_id: str, endpoint: str) -> str | None:
    """What became of the connection, or of what came through it."""
    name, library = type(error).__name__, type(error).__module__.partition(".")[0]
    if (library in _HTTP_LIBRARIES and name.startswith(_BROKEN_OFF)) or "Consistency check failed" in str(error):
        return f"the download of {hub_id} broke off; run the same command again, what came whole is kept"
    if library in _HTTP_LIBRARIES or isinstance(error, (ConnectionError, TimeoutError)):
        return f"the hub at {endpoint} cannot be reached; check the connection, and HF_ENDPOINT if it is set"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room, or name a cache on another disk with HF_HOME"
    return None
