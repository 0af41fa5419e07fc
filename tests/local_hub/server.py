"""A hub on this machine: what of the Hugging Face hub's HTTP interface its stock client uses, over a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from tests.local_hub.repositories import Hub, Refusal, absent, blob_id, commit_of, files_of
from tests.local_hub.uploads import committed, created, lfs_actions, upload_modes

KINDS = ("models", "datasets")


@contextmanager
def local_hub(hub: Hub | Path) -> Iterator[str]:
    """The address of a hub, or of one whose repository owner/name holds what lies in a folder's ``owner/name``."""
    served = hub if isinstance(hub, Hub) else Hub(hub)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, served))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route(self._body())

    def do_PUT(self) -> None:
        self._route(self._body())

    @property
    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    @property
    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _route(self, body: bytes = b"") -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        path = unquote(urlparse(self.path).path).strip("/").split("/")
        if self.hub.status is not None:
            return self._refuse(Refusal(self.hub.status, "", "out of order"))
        match self.command, path:
            case "POST", ["api", "repos", "create"]:
                self._create(json.loads(body))
            case "POST", ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case "PUT", ["lfs", oid]:
                self.hub.objects[oid] = body
                self._json({})
            case "POST", [owner, name, "info", "lfs", "objects", "batch"]:
                if self._may(f"{owner}/{name.removesuffix('.git')}", write=True):
                    self._json(lfs_actions(self.hub, json.loads(body), self._address))
            case "POST", ["api", kind, owner, name, *rest] if kind in KINDS:
                self._change(kind, f"{owner}/{name}", rest, body)
            case _, ["api", kind, owner, name, *rest] if kind in KINDS:
                self._tell(kind, f"{owner}/{name}", rest)
            case _, ["datasets", owner, name, "resolve", revision, *parts]:
                self._give("datasets", f"{owner}/{name}", revision, "/".join(parts))
            case _, [owner, name, "resolve", revision, *parts]:
                self._give("models", f"{owner}/{name}", revision, "/".join(parts))
            case _:
                self._refuse(Refusal(404, "", "no such page"))

    def _create(self, wanted: dict[str, Any]) -> None:
        if self._may(f"{wanted['organization']}/{wanted['name']}", write=True):
            status, body = created(self.hub, wanted, self._address)
            self._json(body, status)

    def _change(self, kind: str, repository: str, action: list[str], body: bytes) -> None:
        revision = action[1] if len(action) > 1 else "main"
        folder = self._folder(kind, repository, revision, write=action[0] in ("preupload", "commit"))
        if folder is None:
            return
        match action[0]:
            case "preupload":
                self._json(upload_modes(folder, json.loads(body)))
            case "commit":
                self._json(committed(self.hub, folder, body, f"{self._address}/{repository}"))
            case "paths-info":
                wanted = parse_qs(body.decode())["paths"] if not body.startswith(b"{") else json.loads(body)["paths"]
                self._json([entry for entry in self._entries(folder, repository) if entry["path"] in wanted])

    def _tell(self, kind: str, repository: str, rest: list[str]) -> None:
        folder = self._folder(kind, repository, rest[1] if len(rest) > 1 else "main")
        if folder is None:
            return
        if rest[:1] == ["tree"]:
            within = "".join(f"{part}/" for part in rest[2:])
            entries = [entry for entry in self._entries(folder, repository) if entry["path"].startswith(within)]
            if "recursive=true" not in self.path.lower():
                entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(within)]
            return self._json(entries)
        siblings = [{"rfilename": entry["path"]} for entry in self.hub.tree(folder, repository)]
        self._json({"id": repository, "sha": commit_of(folder), "siblings": siblings, "private": False, "tags": []})

    def _entries(self, folder: Path, repository: str) -> list[dict[str, Any]]:
        """Files and the folders that they lie in."""
        files = self.hub.tree(folder, repository)
        parents = {str(parent) for path in files_of(folder) for parent in Path(path).parents} - {"."}
        return files + [{"type": "directory", "path": path, "oid": blob_id(path.encode())} for path in sorted(parents)]

    def _give(self, kind: str, repository: str, revision: str, name: str) -> None:
        folder = self._folder(kind, repository, revision, files=True)
        if folder is None:
            return
        commit = commit_of(folder)
        if not (folder / name).is_file():
            return self._refuse(Refusal(404, "EntryNotFound", "Entry not found"), **{"X-Repo-Commit": commit})
        content = (folder / name).read_bytes()
        half = len(content) // 2 if f"{repository}/{name}" in self.hub.cut else None
        self._answer(content, "application/octet-stream", half=half, ETag=f'"{blob_id(content)}"', Commit=commit)

    def _folder(self, kind: str, repository: str, revision: str, **access: bool) -> Path | None:
        """A revision's folder; what keeps the client from it has been answered if it is None."""
        if not self._may(repository, **access):
            return None
        if self.hub.folder(kind, repository) is None:
            self._refuse(absent(self._token))
            return None
        folder = self.hub.folder(kind, repository, revision)
        if folder is None:
            self._refuse(Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
        return folder

    def _may(self, repository: str, **access: bool) -> bool:
        refusal = self.hub.refusal(repository, self._token, **access)
        if refusal is not None:
            self._refuse(refusal)
        return refusal is None

    def _refuse(self, refusal: Refusal, **headers: str) -> None:
        codes = {"X-Error-Code": refusal.code} if refusal.code else {}
        self._json(
            {"error": refusal.message}, refusal.status, **codes, **{"X-Error-Message": refusal.message}, **headers
        )

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._answer(json.dumps(value).encode(), "application/json", status, **headers)

    def _answer(self, body: bytes, kind: str, status: int = 200, half: int | None = None, **headers: str) -> None:
        """Send ``body``, from where the client asks for; of a file that is cut no more than its first ``half``."""
        start = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") :].partition("-")[0] or 0)
        if start and status == 200:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            status = 206
        if "Commit" in headers:
            headers["X-Repo-Commit"] = headers.pop("Commit")
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Accept-Ranges": "bytes", **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[start:half])

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        return content

    def log_message(self, *_: object) -> None:
        """Says nothing."""
