"""What the hub's client sends to publish a folder: a new repository, large files, and a commit of all."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from tests.local_hub.repositories import Hub, blob_id, commit_of

LARGE = (".safetensors", ".pt", ".bin")  # endings that go to the store of large files


def created(hub: Hub, wanted: dict[str, Any], address: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to who wants a repository made."""
    repository = f"{wanted['organization']}/{wanted['name']}"
    body = {"url": f"{address}/{repository}", "name": repository, "id": repository}
    if (hub.root / repository).is_dir():
        return 409, {"error": "You already created this model repo", **body}
    (hub.root / repository).mkdir(parents=True)
    if wanted.get("visibility") == "private" or wanted.get("private"):
        hub.private.add(repository)
    return 200, body


def upload_modes(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Which files are sent as large ones, and what lies in the repository under their names."""
    modes = []
    for file in asked["files"]:
        there = folder / file["path"]
        modes.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": blob_id(there.read_bytes()) if there.is_file() else None,
            }
        )
    return {"files": modes}


def lfs_actions(hub: Hub, asked: dict[str, Any], address: str) -> dict[str, Any]:
    """Where each large file is to be put; nowhere if the store has it."""
    objects = []
    for one in asked["objects"]:
        upload = {"actions": {"upload": {"href": f"{address}/lfs/{one['oid']}"}}}
        objects.append({"oid": one["oid"], "size": one["size"], **({} if one["oid"] in hub.objects else upload)})
    return {"transfer": "basic", "objects": objects}


def committed(hub: Hub, folder: Path, payload: bytes, address: str) -> dict[str, Any]:
    """Carry out a commit, a JSON line an operation."""
    for line in payload.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        match operation["key"]:
            case "file":
                _write(folder / value["path"], base64.b64decode(value["content"]))
            case "lfsFile":
                _write(folder / value["path"], hub.objects[value["oid"]])
            case "deletedFile":
                (folder / value["path"]).unlink()
            case "deletedFolder":
                shutil.rmtree(folder / value["path"])
    commit = commit_of(folder)
    return {"success": True, "commitOid": commit, "commitUrl": f"{address}/commit/{commit}"}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
